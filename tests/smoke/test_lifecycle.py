"""Restart, crash and stop: what an operator does to a stack, and what fate does."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from python_on_whales import docker

from tests.smoke import harness
from tests.smoke.conftest import inv
from tests.smoke.test_agents import FACTS, WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment

pytestmark = pytest.mark.last

CLEAN_SHUTDOWN = "database system is shut down"


def remember(client: Letta, agent: AgentState) -> None:
    """Give an agent something to remember in each of its memories."""
    arguments = json.dumps({"label": "human", "new_string": "Likes tea."})
    client.agents.messages.create(agent.id, input=f"TOOL memory_insert {arguments}")
    client.agents.passages.create(agent.id, text=FACTS[0])


def assert_it_remembers(client: Letta, agent: AgentState) -> None:
    """Check each of the agent's memories, and that it can still talk."""
    assert client.agents.retrieve(agent.id).name == agent.name
    assert client.agents.blocks.retrieve("human", agent_id=agent.id).value.endswith("Likes tea.")
    found = client.agents.passages.search(agent.id, query="heron", top_k=1)
    assert [result.content for result in found.results] == [FACTS[0]]
    calls = [
        message
        for message in client.agents.messages.list(agent.id, limit=100)
        if message.message_type == "tool_call_message"
    ]
    assert len(calls) == 1
    response = client.agents.messages.create(agent.id, input="still there?")
    assert any(
        message.message_type == "assistant_message" and message.content == "STUB:still there?"
        for message in response.messages
    )


def project_of(deployment: Deployment) -> tuple[str, ...]:
    stack = deployment.stack
    return ("--env", stack.topology.name, "--project", stack.name)


def environment_of(deployment: Deployment) -> Mapping[str, str]:
    return deployment.stack.variables


def test_a_restart_forgets_nothing(
    deployment: Deployment, client: Letta, agent: AgentState
) -> None:
    remember(client, agent)
    secrets = deployment.secrets()

    inv("restart", *project_of(deployment), environment=environment_of(deployment))

    assert deployment.secrets() == secrets
    assert_it_remembers(client, agent)


@pytest.mark.only("single")
def test_a_dead_postgres_ends_the_container_and_the_engine_starts_it_again(
    deployment: Deployment, client: Letta, agent: AgentState
) -> None:
    remember(client, agent)
    restarts = deployment.inspect().restart_count

    deployment.kill(deployment.process("postgres"))

    def restarted() -> bool:
        return deployment.inspect().restart_count > restarts

    harness.expect(restarted, timeout=30, what="the container goes on without its database")
    deployment.wait_until_healthy()
    assert_it_remembers(client, agent)


@pytest.mark.only("dev")
def test_health_is_red_while_postgres_is_dead(
    deployment: Deployment, client: Letta, agent: AgentState
) -> None:
    remember(client, agent)
    database = deployment.service("letta-db")

    docker.container.stop(database)
    harness.expect(
        lambda: deployment.health == "unhealthy",
        timeout=90,
        what="the health check does not see that the database is gone",
    )
    assert deployment.inspect().state.running

    docker.container.start(database)
    harness.expect(
        lambda: deployment.health == "healthy",
        timeout=90,
        what="the server does not recover after the database came back",
    )
    assert_it_remembers(client, agent)


def telemetry_of_stopped(deployment: Deployment, directory: Path) -> str:
    """Return what the collector's files hold, from a container in which nothing can be executed any more."""
    docker.container.copy((deployment.container, f"{harness.VOLUME_PATH}/otel"), directory)
    return "".join(file.read_text() for file in (directory / "otel").glob("*.json"))


def test_stopping_finishes_requests_and_shuts_postgres_down_cleanly(
    deployment: Deployment, client: Letta, agent: AgentState, tmp_path: Path
) -> None:
    last_words: list[str] = []
    started = threading.Event()

    def listen() -> None:
        with client.agents.messages.create(
            agent.id, input=WORDS, streaming=True, stream_tokens=True
        ) as stream:
            for event in stream:
                started.set()
                if event.message_type == "assistant_message":
                    last_words.append(str(event.content))

    listener = threading.Thread(target=listen)
    listener.start()
    assert started.wait(timeout=30)

    docker.container.stop(deployment.container)

    listener.join(timeout=30)
    assert "".join(last_words) == f"STUB:{WORDS}"
    state = deployment.inspect().state
    assert (state.status, state.exit_code) == ("exited", 0)
    database = deployment.container
    if "letta-db" in deployment.stack.topology.names:
        database = deployment.service("letta-db")
        docker.container.stop(database)
        assert docker.container.inspect(database).state.exit_code == 0
    assert CLEAN_SHUTDOWN in str(docker.container.logs(database, tail=50))
    # The collector went after the server, and took its last spans along.
    assert "panic" not in deployment.logs()
    if not deployment.stack.topology.secrets:  # the collector is in this container
        assert agent.id in telemetry_of_stopped(deployment, tmp_path)
