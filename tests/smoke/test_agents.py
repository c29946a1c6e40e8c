"""What users do with a server: talk to an agent, let it use tools, give it something to remember."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING

import pytest
import requests
from letta_client import AuthenticationError

from letta_stack.pins.file import Pins
from tests.smoke import harness

if TYPE_CHECKING:
    from letta_client import Letta
    from letta_client.types import AgentState
    from letta_client.types.agents import LettaResponse

    from tests.smoke.conftest import Deployment

pytestmark = pytest.mark.api

WORDS = "one two three four five six seven eight"
FACTS = (
    "The heron waits at the river bank.",
    "PostgreSQL keeps vectors in a table.",
    "Bread rises with yeast and warmth.",
)


def said(response: LettaResponse) -> list[str]:
    """Return what the agent said in a turn."""
    return [
        str(message.content)
        for message in response.messages
        if message.message_type == "assistant_message"
    ]


def returned(response: LettaResponse) -> list[tuple[str, str]]:
    """Return status and result of the tools that the agent used in a turn."""
    return [
        (message.status, message.tool_return)
        for message in response.messages
        if message.message_type == "tool_return_message"
    ]


@pytest.mark.basic
def test_the_api_is_closed_without_the_password(deployment: Deployment) -> None:
    run_code = {"source_code": "def f():\n    '''Run.'''\n    return 1", "args": {}}

    assert requests.get(f"{deployment.url}/v1/agents/", timeout=10).status_code == 401
    assert requests.get(f"{deployment.url}/openapi.json", timeout=10).status_code == 401
    answer = requests.post(f"{deployment.url}/v1/tools/run", json=run_code, timeout=10)
    assert answer.status_code == 401
    with deployment.client("a wrong one") as stranger, pytest.raises(AuthenticationError):
        stranger.agents.list()


@pytest.mark.basic
def test_health_needs_no_password(deployment: Deployment) -> None:
    answer = requests.get(harness.health_url(deployment.url), timeout=10)

    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["version"] == Pins.load()["LETTA_VERSION"]


@pytest.mark.basic
def test_an_agent_answers_a_message(
    deployment: Deployment, client: Letta, agent: AgentState
) -> None:
    response = client.agents.messages.create(agent.id, input="Good morning, heron.")

    assert said(response) == ["STUB:Good morning, heron."]
    assert response.stop_reason.stop_reason == "end_turn"
    assert deployment.provider_requests()[-1]["authorization"] == f"Bearer {harness.PROVIDER_KEY}"


def test_many_messages_in_a_row_are_all_answered_in_time(client: Letta, agent: AgentState) -> None:
    # Upstream's server stalls for a minute now and then if the provider keeps connections alive.
    for number in range(8):
        response = client.agents.messages.create(agent.id, input=f"number {number}")

        assert said(response) == [f"STUB:number {number}"]


def test_a_stream_arrives_word_by_word(client: Letta, agent: AgentState) -> None:
    arrivals = []
    text = ""
    with client.agents.messages.create(
        agent.id, input=WORDS, streaming=True, stream_tokens=True
    ) as stream:
        for event in stream:
            if event.message_type == "assistant_message":
                arrivals.append(time.monotonic())
                text += str(event.content)

    assert text == f"STUB:{WORDS}"
    assert len(arrivals) == 8
    # The model pauses 0.25 s before each word. A proxy that buffers delivers them all at once.
    assert arrivals[-1] - arrivals[0] > 1.2


def test_a_background_stream_can_be_picked_up_later(client: Letta, agent: AgentState) -> None:
    # What was streamed so far is kept in Redis; without one the server answers 503.
    with client.agents.messages.create(
        agent.id, input=WORDS, streaming=True, stream_tokens=True, background=True
    ) as stream:
        run_id = next(event.run_id for event in stream if event.message_type == "assistant_message")
    assert run_id is not None

    with client.runs.messages.stream(run_id, starting_after=0, poll_interval=0.1) as replay:
        text = "".join(
            str(event.content) for event in replay if event.message_type == "assistant_message"
        )

    assert text == f"STUB:{WORDS}"


def test_a_tool_call_edits_memory(client: Letta, agent: AgentState) -> None:
    arguments = json.dumps({"label": "human", "new_string": "Likes tea."})

    response = client.agents.messages.create(agent.id, input=f"TOOL memory_insert {arguments}")

    assert [status for status, _ in returned(response)] == ["success"]
    assert len(said(response)) == 1
    assert "Likes tea." in said(response)[0]
    block = client.agents.blocks.retrieve("human", agent_id=agent.id)
    assert block.value == "Name: Ada.\nLikes tea."


def test_archival_memory_is_found_by_meaning(client: Letta, agent: AgentState) -> None:
    for fact in FACTS:
        client.agents.passages.create(agent.id, text=fact)

    found = client.agents.passages.search(agent.id, query="where does the heron wait", top_k=1)

    assert [result.content for result in found.results] == [FACTS[0]]


def test_an_uploaded_file_is_embedded_and_found(client: Letta, agent: AgentState) -> None:
    folder = client.folders.create(name=f"notes of {agent.id}", embedding=harness.EMBEDDING)
    client.agents.folders.attach(folder.id, agent_id=agent.id)
    content = "\n\n".join(fact * 20 for fact in FACTS).encode()

    client.folders.files.upload(folder.id, file=("notes.txt", io.BytesIO(content), "text/plain"))

    def processed() -> bool:
        (file,) = client.folders.files.list(folder.id)
        assert file.processing_status != "error", file.error_message
        return file.processing_status == "completed"

    harness.expect(processed, timeout=30, what="the file is not embedded yet")
    (file,) = client.folders.files.list(folder.id)
    assert file.chunks_embedded == file.total_chunks
    assert file.total_chunks
    arguments = json.dumps({"query": "heron river", "limit": 1})
    response = client.agents.messages.create(
        agent.id, input=f"TOOL semantic_search_files {arguments}"
    )
    ((status, result),) = returned(response)
    assert status == "success"
    assert "The heron waits" in result


def test_a_large_request_passes(client: Letta) -> None:
    # nginx refuses more than 1 MB unless it is told otherwise.
    padding = "# " + "x" * 3_000_000
    source = f'def padded() -> str:\n    """Say hello."""\n    return "hello"\n\n{padding}\n'

    assert client.tools.upsert(source_code=source).name == "padded"
