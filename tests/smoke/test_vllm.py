"""A language model of one's own: through the topology's own wiring to a simulator with vLLM's API, and to a server elsewhere."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.engine import inspect
from letta_stack.errors import AcceleratorMissing
from tests.smoke import harness, inference
from tests.smoke.conftest import deployed
from tests.smoke.test_agents import WORDS, returned, said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment

pytestmark = pytest.mark.only("vllm")

ELSEWHERE_LENGTH = 16000
HANDLE = f"vllm/{inference.MODEL}"
ADD = '''
def add(first: int, second: int) -> int:
    """Add two numbers.

    Args:
        first: One of them.
        second: The other one.
    """
    return first + second
'''


@pytest.fixture
def talker(client: Letta) -> AgentState:
    """Return an agent without tools: the simulator answers with the last message instead of calling one."""
    return client.agents.create(model=HANDLE, include_base_tools=False)


@pytest.fixture
def elsewhere(topology: str) -> Iterator[Deployment]:
    """Bring the topology up with a server of the API that is no vLLM, in the place of its own."""
    url = f"http://{harness.STUB_HOST}:{harness.STUB_PORT}"
    settings = {**harness.PROVIDER, "LETTA_STACK_LLM_CONTEXT": str(ELSEWHERE_LENGTH)}
    with deployed(topology, "endpoint", settings, "--llm-endpoint", url) as one:
        yield one


def test_without_a_gpu_nothing_is_started(topology: str) -> None:
    if inspect.require().nvidia:
        pytest.skip("this engine has a GPU, and vLLM would start")
    project = f"{harness.RUN}-no-gpu"
    command = [sys.executable, "-m", "invoke", "up", "--env", topology, "--project", project]

    answer = process.probe(command, env={"LETTA_STACK_LLM_GPU": "nvidia"}, cwd=ROOT)

    assert answer.exit_code == AcceleratorMissing.exit_code
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert "--llm-endpoint URL" in line
    assert harness.leftovers(project) == []


def test_the_model_has_the_length_that_the_settings_say(client: Letta) -> None:
    (model,) = [one for one in client.models.list() if one.handle == HANDLE]

    assert model.context_window == inference.CONTEXT_LENGTH


def test_an_agent_answers_with_it(client: Letta, talker: AgentState) -> None:
    response = client.agents.messages.create(talker.id, input="Good morning, heron.")

    assert said(response) == ["Good morning, heron."]
    assert response.stop_reason.stop_reason == "end_turn"


def test_a_stream_arrives_as_it_is_made(client: Letta, talker: AgentState) -> None:
    arrivals, text = [], ""
    with client.agents.messages.create(
        talker.id, input=WORDS, streaming=True, stream_tokens=True
    ) as stream:
        for event in stream:
            if event.message_type == "assistant_message":
                arrivals.append(time.monotonic())
                text += str(event.content)

    assert text == WORDS
    assert len(arrivals) > 4
    assert arrivals[-1] > arrivals[0]


def test_a_tool_that_it_calls_runs(client: Letta) -> None:
    tool = client.tools.upsert(source_code=ADD)
    # The first step must call it, which the server says as `tool_choice`; the simulator makes the arguments up.
    agent = client.agents.create(
        model=HANDLE,
        include_base_tools=False,
        tool_ids=[tool.id],
        tool_rules=[
            {"type": "run_first", "tool_name": "add"},
            {"type": "exit_loop", "tool_name": "add"},
        ],
    )

    response = client.agents.messages.create(agent.id, input="Add.")

    calls = [one for one in response.messages if one.message_type == "tool_call_message"]
    (arguments,) = [json.loads(one.tool_call.arguments or "") for one in calls]
    assert returned(response) == [("success", str(arguments["first"] + arguments["second"]))]


def test_the_model_is_on_the_volume(deployment: Deployment) -> None:
    container = deployment.service("letta-llm")
    assert process.capture(["docker", "exec", container, "ls", "/var/tmp"]).split() == ["model"]
    assert process.capture(["docker", "exec", container, "id", "-u"]).strip() == "10001"


@pytest.mark.last
def test_any_server_of_the_api_can_take_its_place(elsewhere: Deployment) -> None:
    with elsewhere.client() as client:
        # The scripted model is called what OpenAI's is, and its list says no length.
        (model,) = [one for one in client.models.list() if one.handle == "vllm/gpt-4o-mini"]
        agent = client.agents.create(model=model.handle)
        response = client.agents.messages.create(agent.id, input="Good morning.")

    assert model.context_window == ELSEWHERE_LENGTH
    assert said(response) == ["STUB:Good morning."]
    # Without the key only `inv up` asks, whether anything is there.
    requests = [one for one in elsewhere.provider_requests() if str(one["path"]).startswith("/v1")]
    assert {one["authorization"] for one in requests} == {f"Bearer {harness.PROVIDER_KEY}"}
    assert [one.service for one in elsewhere.stack.runner.states()] == ["letta-server"]
