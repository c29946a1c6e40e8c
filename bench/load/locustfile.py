"""The clients, for Locust: `locust -f bench/load/locustfile.py --host URL Api`. Run by `python -m bench.load`.

Environment: LOAD_PASSWORD, LOAD_MODEL, and LOAD_WORDS, the number of words of a message and of its answer.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from letta_client import Letta
from locust import User, constant, constant_throughput, task

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_client.types import AgentState

TIMEOUT_SECONDS = 60.0
TAG = "letta-stack-faults"  # whoever clears up after a run looks for it
WORDS = " ".join(["word"] * int(os.environ["LOAD_WORDS"]))


class Client(User):
    """One client of the SDK with an agent of its own; one attempt a request."""

    abstract = True

    def on_start(self) -> None:
        """Make the agent."""
        self.letta = Letta(
            base_url=self.host,
            api_key=os.environ["LOAD_PASSWORD"],
            timeout=TIMEOUT_SECONDS,
            max_retries=0,
        )
        self.agent: AgentState = self.letta.agents.create(
            name=TAG, tags=[TAG], model=os.environ["LOAD_MODEL"], include_base_tools=False
        )

    def timed(self, name: str, call: Callable[[], Any]) -> None:
        """Make a call of the SDK and tell Locust how it went."""
        began = time.perf_counter()
        failure: Exception | None = None
        try:
            call()
        except Exception as error:  # noqa: BLE001 - every failure counts
            failure = error
            print(
                f"{time.strftime('%H:%M:%S')} {name}: {error!r} {error.__cause__!r}",
                file=sys.stderr,
            )
        self.environment.events.request.fire(
            request_type="SDK",
            name=name,
            response_time=(time.perf_counter() - began) * 1000,
            response_length=0,
            exception=failure,
        )


class Api(Client):
    """Calls that need no model, one each second."""

    wait_time = constant_throughput(1)

    @task
    def list_agents(self) -> None:
        """List ten agents."""
        self.timed("agents.list", lambda: list(self.letta.agents.list(limit=10).items))

    @task
    def retrieve_agent(self) -> None:
        """Read an agent."""
        self.timed("agents.retrieve", lambda: self.letta.agents.retrieve(self.agent.id))

    @task
    def list_messages(self) -> None:
        """Read what was said."""
        self.timed(
            "messages.list",
            lambda: list(self.letta.agents.messages.list(self.agent.id, limit=20).items),
        )

    @task
    def list_blocks(self) -> None:
        """List memory blocks."""
        self.timed("blocks.list", lambda: list(self.letta.blocks.list(limit=10).items))


class Busy(Api):
    """The same calls, one after the other as fast as they are answered."""

    wait_time = constant(0)


class Talker(Client):
    """Turns, one after the other."""

    wait_time = constant(0)

    @task
    def message(self) -> None:
        """Send a message and wait for the answer."""
        self.timed("messages.create", self._message)

    def _message(self) -> None:
        answer = self.letta.agents.messages.create(self.agent.id, input=WORDS)
        if answer.stop_reason.stop_reason != "end_turn":
            raise RuntimeError(answer.stop_reason.stop_reason)


class Listener(Client):
    """Streams, one after the other; the time to the first word is a row of its own."""

    wait_time = constant(0)

    @task
    def stream(self) -> None:
        """Send a message and read the answer word by word."""
        self.timed("messages.stream", self._stream)

    def _stream(self) -> None:
        began = time.perf_counter()
        first, reason = 0.0, ""
        with self.letta.agents.messages.create(
            self.agent.id, input=WORDS, streaming=True, stream_tokens=True
        ) as events:
            for event in events:
                if event.message_type == "assistant_message":
                    first = first or time.perf_counter()
                elif event.message_type == "stop_reason":
                    reason = event.stop_reason
        if reason != "end_turn":
            raise RuntimeError(reason or "cut off")
        self.environment.events.request.fire(
            request_type="SDK",
            name="first word",
            response_time=(first - began) * 1000,
            response_length=0,
            exception=None,
        )
