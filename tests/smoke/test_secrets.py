"""Who can see a password: nobody who reads logs, inspects the container, or runs code as an agent's tool."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from python_on_whales import docker

from letta_stack.base import process
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment

SPY = '''
def spy() -> str:
    """Report what a tool can see of its surroundings.

    Returns:
        str: environments and command lines of all processes, and every file of the stack that can be read.
    """
    import json, os
    seen = {"own environment": dict(os.environ), "parent": os.getppid()}
    paths = [f"/proc/{pid}/{file}" for pid in os.listdir("/proc") if pid.isdigit() for file in ("environ", "cmdline")]
    for top in ("/run", "/var/lib/letta", "/opt/letta-stack"):
        paths += [os.path.join(directory, name) for directory, _, names in os.walk(top) for name in names]
    for path in paths:
        try:
            with open(path, "rb") as file:
                seen[path] = file.read(100_000).decode(errors="replace")
        except OSError as error:
            seen[path] = f"not readable: {error.strerror}"
    return json.dumps(seen)
'''


@pytest.fixture
def known_secrets(deployment: Deployment) -> Mapping[str, str]:
    secrets = deployment.secrets()
    assert {"server-password", "encryption-key"} <= secrets.keys()
    assert all(len(value) >= 32 for value in secrets.values())
    return secrets


@pytest.mark.only("single", "dev")
def test_secrets_are_roots_alone(deployment: Deployment) -> None:
    modes = deployment.execute(
        "sh", "-c", f"stat -c '%a %u' {harness.SECRETS_PATH} {harness.SECRETS_PATH}/*"
    ).splitlines()

    assert modes[0] == "700 0"
    assert set(modes[1:]) == {"600 0"}


def test_a_tool_sees_no_secret(
    deployment: Deployment, client: Letta, agent: AgentState, known_secrets: Mapping[str, str]
) -> None:
    tool = client.tools.upsert(source_code=SPY, return_char_limit=1_000_000)
    client.agents.tools.attach(tool.id, agent_id=agent.id)

    response = client.agents.messages.create(agent.id, input="TOOL spy {}")

    (result,) = (one for one in response.messages if one.message_type == "tool_return_message")
    assert result.status == "success", result.tool_return
    seen = json.loads(result.tool_return)
    # The tool did look: it sees its own environment, and the process that started it.
    assert seen["own environment"]["LETTA_AGENT_ID"] == agent.id
    assert f"/proc/{seen['parent']}/environ" in seen
    everything = {**known_secrets, "OPENAI_API_KEY": harness.PROVIDER_KEY}
    assert harness.mentions(result.tool_return, everything) == []
    assert "LETTA_PG_URI" not in seen["own environment"]


def test_logs_name_no_secret(deployment: Deployment, known_secrets: Mapping[str, str]) -> None:
    everything = {**known_secrets, "OPENAI_API_KEY": harness.PROVIDER_KEY}
    log_files = deployment.execute(
        "sh", "-c", f"find {harness.VOLUME_PATH}/home -path '*/logs/*' -type f -exec cat {{}} +"
    )

    for state in deployment.stack.runner.states():
        assert harness.mentions(str(docker.container.logs(state.container)), everything) == []
    assert log_files
    assert harness.mentions(log_files, everything) == []


def test_inspecting_the_containers_shows_no_generated_secret(
    deployment: Deployment, known_secrets: Mapping[str, str]
) -> None:
    for state in deployment.stack.runner.states():
        shown = process.capture(["docker", "inspect", state.container])

        assert deployment.stack.name in shown
        assert harness.mentions(shown, known_secrets) == []


@pytest.mark.only("single", "dev")
def test_traces_carry_no_secret(
    deployment: Deployment, client: Letta, known_secrets: Mapping[str, str]
) -> None:
    # Upstream puts the JSON body of a request into its span.
    key = f"sk-of-a-user-{harness.RUN}"
    client.post(
        "/v1/providers/",
        cast_to=object,
        body={
            "name": f"own-{deployment.stack.topology.name}",
            "provider_type": "vllm",
            "api_key": key,
            "base_url": harness.PROVIDER["OPENAI_BASE_URL"],
        },
    )

    def arrived() -> bool:
        spans = harness.span_names(deployment.telemetry(), "letta-server")
        return "POST /v1/providers/" in spans

    harness.expect(arrived, timeout=30, what="no span POST /v1/providers/ in the collector's file")
    everything = {
        **known_secrets,
        "OPENAI_API_KEY": harness.PROVIDER_KEY,
        "the user's own key": key,
    }
    assert harness.mentions(json.dumps(deployment.telemetry()), everything) == []
