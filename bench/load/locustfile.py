"""The clients, for Locust: `locust -f bench/load/locustfile.py --host URL Api`. Run by `python -m bench.load`.

What counts is a window: it begins when each client has its agent and some seconds more have passed, and ends before the clients do.

Environment: LOAD_PASSWORD, LOAD_MODEL; LOAD_WORDS, the number of words of a message and of its answer; LOAD_WARM_UP and LOAD_SECONDS
before and within the window; LOAD_MARKS, a directory where a file says that it has begun, and another one that it has ended.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from letta_client import Letta
from locust import User, constant, constant_throughput, events, task

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_client.types import AgentState

TIMEOUT_SECONDS = 60.0
TAG = "letta-stack-faults"  # whoever clears up after a run looks for it
WORDS = " ".join(["word"] * int(os.environ["LOAD_WORDS"]))
WARM_UP_SECONDS = float(os.environ["LOAD_WARM_UP"])
SECONDS = float(os.environ["LOAD_SECONDS"])
BEGAN, ENDED = (Path(os.environ["LOAD_MARKS"], name) for name in ("began", "ended"))


class Window:
    """How many clients are ready, and whether the time that counts is over."""

    ready = 0
    over = False

    @classmethod
    def run(cls, environment: Any, users: int) -> None:
        """Open when all clients are ready and warm, close and end the run."""
        while cls.ready < users:
            gevent.sleep(0.1)
        gevent.sleep(WARM_UP_SECONDS)
        environment.stats.reset_all()
        BEGAN.touch()
        gevent.sleep(SECONDS)
        cls.over = True
        ENDED.touch()
        environment.runner.quit()


@events.test_start.add_listener
def open_window(environment: Any, **_: Any) -> None:
    """Let it open by itself."""
    gevent.spawn(Window.run, environment, environment.parsed_options.num_users)


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
        Window.ready += 1

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
        # What ends later began within the window, and as much ended in it that began before. A failure is one at any time.
        if Window.over and failure is None:
            return
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
        if Window.over:
            return
        self.environment.events.request.fire(
            request_type="SDK",
            name="first word",
            response_time=(first - began) * 1000,
            response_length=0,
            exception=None,
        )
