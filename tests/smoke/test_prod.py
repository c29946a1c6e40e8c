"""What an operator of `prod` counts on: nothing open, no root, one migration, secrets that can be replaced at work."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import requests
from python_on_whales import docker
from python_on_whales.exceptions import DockerException

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.secrets import kinds
from letta_stack.secrets.store import OLD, Store
from letta_stack.topology.catalogue import SERVER
from tests.smoke.conftest import inv
from tests.smoke.test_agents import WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment

pytestmark = pytest.mark.only("prod")


@pytest.fixture
def containers(deployment: Deployment) -> Mapping[str, dict[str, Any]]:
    """Return what the engine says about each container that is meant to run."""
    names = [state.container for state in deployment.stack.runner.states() if state.ready]
    found = json.loads(process.capture(["docker", "inspect", *names]))
    running = sum(deployment.stack.expected.values()) - 1  # all but the migration, which has ended
    assert len(found) == running
    return {one["Name"].removeprefix("/"): one for one in found}


def test_only_the_gateway_is_published_and_only_on_this_machine(
    deployment: Deployment, containers: Mapping[str, dict[str, Any]]
) -> None:
    published = {
        name: {
            port["HostIp"] for ports in one["HostConfig"]["PortBindings"].values() for port in ports
        }
        for name, one in containers.items()
        if one["HostConfig"]["PortBindings"]
    }

    assert published == {deployment.service("letta-nginx"): {"127.0.0.1"}}


def test_the_databases_have_no_way_out(containers: Mapping[str, dict[str, Any]]) -> None:
    for name, one in containers.items():
        if "letta-db" in name or "letta-redis" in name:
            (network,) = one["NetworkSettings"]["Networks"]
            assert docker.network.inspect(network).internal, name


def test_no_container_has_root_or_writes_to_its_image(
    containers: Mapping[str, dict[str, Any]],
) -> None:
    for name, one in containers.items():
        host = one["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["PidsLimit"] > 0, name
        assert host["Memory"] > 0, name
        users = process.capture(["docker", "top", name, "-o", "pid,uid"]).split()[3::2]
        assert users, name
        assert "0" not in users, name


def test_redis_answers_nobody_without_the_password(deployment: Deployment) -> None:
    redis = deployment.service("letta-redis")

    assert "NOAUTH" in str(docker.container.execute(redis, ["redis-cli", "keys", "*"]))


def test_the_database_was_migrated_once_and_by_no_server(deployment: Deployment) -> None:
    logs = {
        state.container: str(docker.container.logs(state.container))
        for state in deployment.stack.runner.states()
    }
    by_whom = [name for name, text in logs.items() if "migrated the database in" in text]

    assert by_whom == [deployment.service("letta-migrate")]
    assert logs[by_whom[0]].count("migrated the database in") == 1


def test_the_owner_of_the_data_cannot_log_in_nor_the_superuser_over_a_network(
    deployment: Deployment,
) -> None:
    roles = query(
        deployment,
        "SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL",
    )

    assert len(roles) == 1
    assert roles[0] in kinds.LOGINS


def query(deployment: Deployment, sql: str) -> list[str]:
    command = ["psql", "-U", "postgres", "-d", "letta", "-At", "-c", sql]
    return str(docker.container.execute(deployment.service("letta-db"), command)).splitlines()


def rotation(deployment: Deployment, name: str) -> list[str]:
    flags = ["--env", "prod", "--project", deployment.stack.name]
    return [sys.executable, "-m", "invoke", "secrets.rotate", name, *flags]


class Asking(threading.Thread):
    """Asks the API for something from the database, again and again."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__()
        self.url = f"{deployment.url}/v1/agents/?limit=1"
        self.headers = {"Authorization": f"Bearer {deployment.password}"}
        self.answers: list[int] = []
        self.enough = threading.Event()

    def run(self) -> None:
        """Go on until it is enough."""
        while not self.enough.wait(0.1):
            answer = requests.get(self.url, headers=self.headers, timeout=30)
            self.answers.append(answer.status_code)


@pytest.mark.last(order=1)
def test_a_rotation_loses_no_request_and_goes_on_after_it_was_killed(
    deployment: Deployment, client: Letta, agent: AgentState
) -> None:
    store = Store.of(deployment.stack.name)
    before = store.read(kinds.DATABASE)
    words: list[str] = []
    streaming = threading.Event()

    def listen() -> None:
        with client.agents.messages.create(
            agent.id, input=WORDS, streaming=True, stream_tokens=True
        ) as stream:
            for event in stream:
                streaming.set()
                if event.message_type == "assistant_message":
                    words.append(str(event.content))

    listener = threading.Thread(target=listen)
    asking = Asking(deployment)
    listener.start()
    assert streaming.wait(timeout=30)
    asking.start()
    try:
        with subprocess.Popen(
            rotation(deployment, kinds.DATABASE), cwd=ROOT, stderr=subprocess.PIPE, text=True
        ) as first:
            assert first.stderr is not None
            assert "restarting" in first.stderr.readline()
            first.kill()
        assert store.path(kinds.DATABASE + OLD).exists()
        assert (
            len(
                query(
                    deployment, "SELECT 1 FROM pg_roles WHERE rolname ~ '^letta_' AND rolcanlogin"
                )
            )
            == 2
        )

        process.run(rotation(deployment, kinds.DATABASE), cwd=ROOT)
        listener.join(timeout=30)
        time.sleep(1)
    finally:
        asking.enough.set()
        asking.join()

    assert "".join(words) == f"STUB:{WORDS}"
    assert len(asking.answers) > 10
    assert Counter(asking.answers) == {200: len(asking.answers)}
    after = store.read(kinds.DATABASE)
    assert kinds.login(after) != kinds.login(before)
    assert not store.path(kinds.DATABASE + OLD).exists()
    with pytest.raises(DockerException, match="password authentication failed"):
        log_in(deployment, before)
    assert log_in(deployment, after) == "letta"


def log_in(deployment: Deployment, uri: str) -> str:
    """Return whom the database takes a client for that has this URI."""
    return str(
        docker.container.execute(
            deployment.service("letta-db"),
            # By its name in the network: over the loopback device everybody is trusted.
            ["psql", uri, "-At", "-c", "SELECT current_user"],
        )
    )


@pytest.mark.last
def test_a_second_up_changes_nothing(deployment: Deployment) -> None:
    def running() -> set[str]:
        return {
            docker.container.inspect(state.container).id
            for state in deployment.stack.runner.states()
            if state.service == SERVER
        }

    before = running()
    flags = ("--env", "prod", "--project", deployment.stack.name, "--replicas", "2")
    port = deployment.url.rpartition(":")[2]
    inv("up", *flags, "--port", port, environment=deployment.stack.variables)

    assert running() == before
