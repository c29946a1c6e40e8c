"""The stack on a real swarm of one host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

from letta_stack.base import process
from tests.swarm.conftest import PROJECT, UP

if TYPE_CHECKING:
    from tests.swarm.inner import Engine


def status(engine: Engine, password: str) -> int:
    headers = {"Authorization": f"Bearer {password}"} if password else {}
    return requests.get(f"{engine.gateway}/v1/agents/", headers=headers, timeout=30).status_code


def test_the_api_answers_with_the_password_and_not_without(engine: Engine, password: str) -> None:
    assert status(engine, password) == 200
    assert status(engine, "") == 401


def test_a_second_up_changes_no_server(
    engine: Engine, password: str, environment: dict[str, str]
) -> None:
    name = f"name={PROJECT}_letta-server"
    question = ["docker", "ps", "--quiet", "--filter", name]
    before = process.capture(question, env=environment)

    process.run(UP, env=environment)

    assert process.capture(question, env=environment) == before
    assert status(engine, password) == 200


def test_a_command_runs_in_the_server_as_its_user(
    password: str, environment: dict[str, str]
) -> None:
    command = ["inv", "exec", "--env", "swarm", "--project", PROJECT, "--", "id", "-u"]

    assert process.capture(command, env=environment).strip() == "10001"
