"""How the server's container works inside: who runs what, and where the traces go."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING

import pytest

from letta_stack.topology import preflight
from letta_stack.topology.catalogue import DATABASE, REDIS
from tests.smoke import harness

if TYPE_CHECKING:
    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment

ROOT_UID = 0
SUPERVISORS = {"s6-svscan", "s6-supervise"}
# Which service takes which process out of the server's container.
DATABASES = {DATABASE.name: "postgres", REDIS.name: "redis-server"}


@pytest.mark.only("single", "dev")
def test_nothing_but_the_supervisors_runs_as_root(deployment: Deployment) -> None:
    processes = deployment.processes()
    names = {one.name for one in processes}

    assert names >= SUPERVISORS
    assert {one.name for one in processes if one.uid == ROOT_UID} == SUPERVISORS


def test_only_what_is_no_service_of_its_own_is_embedded(deployment: Deployment) -> None:
    names = {one.name for one in deployment.processes()}
    services = {one.name for one in deployment.stack.topology.services}
    embedded = {process for service, process in DATABASES.items() if service not in services}

    assert names & set(DATABASES.values()) == embedded


@pytest.mark.only("single", "dev")
def test_traces_arrive_in_the_collectors_file(
    deployment: Deployment, client: Letta, agent: AgentState
) -> None:
    client.agents.messages.create(agent.id, input="leave a trace")
    wanted = {"agent_step", "POST /v1/agents/{agent_id}/messages"}

    def arrived() -> bool:
        return wanted <= harness.span_names(deployment.telemetry(), "letta-server")

    harness.expect(arrived, timeout=30, what=f"not all of {wanted} in the collector's file")


def test_a_server_on_this_machine_can_be_reached_by_name(deployment: Deployment) -> None:
    # As Ollama is, when it listens on more than 127.0.0.1.
    with http.server.HTTPServer(("", 0), http.server.BaseHTTPRequestHandler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        url = f"http://{preflight.HOST_NAME}:{listening.server_port}/"
        ask = f"import urllib.request as r; r.urlopen({url!r}, timeout=10)"

        try:
            answer = deployment.execute("sh", "-c", f'python3 -c "{ask}" 2>&1 || true')
        finally:
            listening.shutdown()

    # A server that has no route answers all the same.
    assert "HTTP Error 501" in answer
