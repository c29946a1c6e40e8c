"""README's `docker run` line, as somebody types it."""

from __future__ import annotations

import shlex
import threading
from typing import TYPE_CHECKING

from python_on_whales import docker

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.image.contract import API_PORT
from tests.smoke import harness
from tests.smoke.harness import Server
from tests.smoke.test_agents import WORDS

if TYPE_CHECKING:
    from letta_client import Letta

NAME = f"{harness.RUN}-readme"
CHUNK_SECONDS = 1.5
"""Pause before each word: the answer takes longer than the ten seconds that `docker stop` gives by default."""


def line_of_readme() -> list[str]:
    """Return the words of the line, with a name, port, volume and image of this run's own."""
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    (line,) = [one for one in text.splitlines() if one.startswith("    docker run ")]
    own = {
        "letta": NAME,
        f"127.0.0.1:{API_PORT}:{API_PORT}": f"127.0.0.1::{API_PORT}",
        f"letta:{harness.VOLUME_PATH}": f"{NAME}:{harness.VOLUME_PATH}",
    }
    *options, _ = shlex.split(line)
    assert own.keys() <= set(options)
    return [own.get(word, word) for word in options]


def test_stopping_what_readme_starts_lets_a_turn_end(image: str) -> None:
    variables = [f"--env={name}={value}" for name, value in harness.PROVIDER.items()]
    with (
        harness.network(NAME) as network,
        harness.script(
            "readme-stub",
            "llm_stub.py",
            image=image,
            arguments=["--chunk-delay", str(CHUNK_SECONDS)],
            networks=[network],
            network_aliases=[harness.STUB_HOST],
        ),
    ):
        try:
            process.capture([*line_of_readme(), f"--network={network}", *variables, image])
            server = Server(NAME, harness.published_url(NAME))
            server.wait_until_healthy()

            assert turn_during_stop(server) == f"STUB:{WORDS}"

            state = server.inspect().state
            assert (state.status, state.exit_code) == ("exited", 0)
        finally:
            docker.container.remove(NAME, force=True)
            docker.volume.remove(NAME)


def turn_during_stop(server: Server) -> str:
    """Stop the container as soon as an agent has begun to speak; return all that it said."""
    with server.client() as client:
        agent = client.agents.create(model=harness.MODEL, embedding=harness.EMBEDDING)
        words: list[str] = []
        started = threading.Event()
        listener = threading.Thread(target=listen, args=(client, agent.id, words, started))
        listener.start()
        assert started.wait(timeout=30)
        process.capture(["docker", "stop", server.container])
        listener.join(timeout=30)
    return "".join(words)


def listen(client: Letta, agent: str, words: list[str], started: threading.Event) -> None:
    with client.agents.messages.create(
        agent, input=WORDS, streaming=True, stream_tokens=True
    ) as stream:
        for event in stream:
            started.set()
            if event.message_type == "assistant_message":
                words.append(str(event.content))
