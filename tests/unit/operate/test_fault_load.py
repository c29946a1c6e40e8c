"""The load and its client, against a server that behaves and one that does not."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.operate.faults import load, scripted_model
from letta_stack.operate.faults.client import Answer, Client
from letta_stack.operate.faults.load import Load
from letta_stack.operate.faults.model import KINDS, READ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUEST = {"messages": [{"role": "user", "content": "one two three four"}]}


class Instant(Client):
    """Answers at once."""

    def read(self, trace: str) -> Answer:
        return Answer(200, trace, done=True)

    def message(self, agent: str, text: str, trace: str) -> Answer:
        return Answer(200, f"{agent} {text} {trace}", done=True)

    def stream(self, agent: str, text: str, trace: str) -> Answer:
        return self.message(agent, text, trace)


@pytest.fixture
def mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scripted_model, "MODE", tmp_path / "mode")
    monkeypatch.setattr(scripted_model, "WORD_SECONDS", 0.001)
    return tmp_path / "mode"


@pytest.fixture
def model(mode: Path) -> Iterator[str]:
    """Serve the scripted model and give its address."""
    server = scripted_model.Server(("127.0.0.1", 0), scripted_model.Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_kind_of_request_goes_on_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PAUSE_SECONDS", 0.001)

    with Load(Instant("", ""), ["a", "b"]) as running:
        while {one.kind for one in running.attempts} != set(KINDS):
            time.sleep(0.01)

    assert all(one.trace.startswith(running.family) for one in running.attempts)
    assert len({one.trace for one in running.attempts}) == len(running.attempts)
    assert all(bool(one.mark) == (one.kind != READ) for one in running.attempts)


def test_while_writes_pause_clients_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PAUSE_SECONDS", 0.001)

    with Load(Instant("", ""), ["a", "b"]) as running:
        running.pause_writes()
        before = len(running.attempts)
        while len(running.attempts) < before + 20:
            time.sleep(0.01)
        assert {one.kind for one in running.attempts[before:]} == {READ}
        running.resume_writes()
        while {one.kind for one in running.attempts[before:]} != set(KINDS):
            time.sleep(0.01)


def test_the_model_lists_itself_with_the_length_of_its_context(model: str) -> None:
    (found,) = requests.get(f"{model}/models", timeout=5).json()["data"]

    assert found["id"] == scripted_model.NAME
    assert found["max_model_len"] == scripted_model.CONTEXT_TOKENS


def test_the_model_answers_whole_and_word_by_word(model: str) -> None:
    whole = requests.post(f"{model}/chat/completions", json=REQUEST, timeout=5).json()
    streamed = requests.post(
        f"{model}/chat/completions", json={**REQUEST, "stream": True}, timeout=5
    )

    assert whole["choices"][0]["message"]["content"] == "heard one two three four"
    assert streamed.text.count('"role": "assistant"') == 5
    assert streamed.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(("word", "status"), [("limit", 429), ("fail", 500)])
def test_the_model_refuses(word: str, status: int, model: str, mode: Path) -> None:
    mode.write_text(word)

    assert requests.post(f"{model}/chat/completions", json=REQUEST, timeout=5).status_code == status


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_breaks_off(stream: bool, model: str, mode: Path) -> None:
    mode.write_text("break")

    with pytest.raises(requests.RequestException):
        requests.post(f"{model}/chat/completions", json={**REQUEST, "stream": stream}, timeout=5)


def test_the_model_hangs(model: str, mode: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted_model, "HANG_SECONDS", 0.5)
    mode.write_text("hang")

    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{model}/chat/completions", json=REQUEST, timeout=0.1)


def test_a_connection_that_is_refused_is_a_failure_without_a_status() -> None:
    client = Client("http://127.0.0.1:9", "secret")

    answer = client.stream("agent-1", "hello", "0" * 32)

    assert (answer.status, answer.done) == (0, False)
    assert client.read("0" * 32).status == 0
    assert not client.message("agent-1", "hello", "").done
    assert not client.answers()
