"""The gateway in front of the real server: what its own tests cannot show with a scripted one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import requests
from python_on_whales import docker

from tests.smoke import harness

if TYPE_CHECKING:
    from letta_client import Letta

    from tests.smoke.conftest import Deployment

pytestmark = pytest.mark.only("dev")


def test_the_user_of_a_request_is_the_one_in_its_header(deployment: Deployment) -> None:
    headers = {"Authorization": f"Bearer {deployment.password}"}
    users = f"{deployment.url}/v1/admin/users/"
    (default, *_) = requests.get(users, headers=headers, timeout=30).json()
    request = {"name": "Ada", "organization_id": default["organization_id"]}
    made = requests.post(users, json=request, headers=headers, timeout=30)
    assert made.status_code == 200, made.text
    user = made.json()["id"]

    def create(**more: str) -> dict[str, str]:
        answer = requests.post(
            f"{deployment.url}/v1/agents/",
            json={"model": harness.MODEL},
            headers=headers | more,
            timeout=30,
        )
        agent: dict[str, str] = answer.json()
        return agent

    assert create(user_id=user)["created_by_id"] == user
    assert create()["created_by_id"] != user


@pytest.mark.last
def test_a_database_that_restarts_means_try_again(deployment: Deployment, client: Letta) -> None:
    database = deployment.service("letta-db")
    headers = {"Authorization": f"Bearer {deployment.password}"}
    answers: list[requests.Response] = []
    back = threading.Event()

    def ask() -> None:
        while not back.is_set():
            answers.append(
                requests.get(f"{deployment.url}/v1/agents/?limit=1", headers=headers, timeout=60)
            )

    client.agents.create(model=harness.MODEL)
    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        docker.container.kill(database)
        harness.expect(
            lambda: any(one.status_code == 503 for one in answers), timeout=30, what="no 503 yet"
        )
        docker.container.start(database)
        harness.expect(lambda: answers[-1].ok, timeout=60, what="the database is not back yet")
    finally:
        back.set()
        for asker in askers:
            asker.join()

    assert {one.status_code for one in answers} == {200, 503}
    for refused in (one for one in answers if one.status_code == 503):
        assert refused.headers["Retry-After"] == "2"
        assert "try again" in refused.json()["detail"]
