"""How the server's container works inside: who runs what, and where the traces go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.smoke import harness

if TYPE_CHECKING:
    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment

ROOT_UID = 0
SUPERVISORS = {"s6-svscan", "s6-supervise"}
EMBEDDED = {"single": {"postgres", "redis-server"}, "dev": set()}


def test_nothing_but_the_supervisors_runs_as_root(deployment: Deployment) -> None:
    processes = deployment.processes()
    names = {one.name for one in processes}

    assert names >= SUPERVISORS
    assert {one.name for one in processes if one.uid == ROOT_UID} == SUPERVISORS


def test_only_what_is_not_external_is_embedded(deployment: Deployment) -> None:
    names = {one.name for one in deployment.processes()}
    databases = {"postgres", "redis-server"} & names

    assert databases == EMBEDDED[deployment.stack.topology.name]


def test_traces_arrive_in_the_collectors_file(
    deployment: Deployment, client: Letta, agent: AgentState
) -> None:
    client.agents.messages.create(agent.id, input="leave a trace")
    wanted = {"agent_step", "POST /v1/agents/{agent_id}/messages"}

    def arrived() -> bool:
        return wanted <= harness.span_names(deployment.telemetry(), "letta-server")

    harness.expect(arrived, timeout=30, what=f"not all of {wanted} in the collector's file")
