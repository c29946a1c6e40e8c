"""A light load that goes on while a fault acts: reads, messages and streams, each with a mark that can be found again."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from letta_stack.operate.faults.model import KINDS, MESSAGE, READ, STREAM, Count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from letta_stack.operate.faults.client import Answer, Client

READERS = 2
PAUSE_SECONDS = 0.3  # between two requests of one thread
WORDS = "one two three four five six seven eight"
MARK_BYTES = 8
TRACE_BYTES = 8
OK = 200
SERVER_ERROR = 500

# What a client must not see: the server's internals, or a page where it expects JSON.
_INTERNALS = re.compile(
    r"asyncpg|sqlalchemy|psycopg|pg8000|Traceback|redis\.exceptions|<html|generator didn't|state 12",
    re.IGNORECASE,
)
_NAMED = '"llm_error"'  # the server's own 500 for a provider that failed
_SHOWN = 240


@dataclass(frozen=True)
class Attempt:
    """One request."""

    kind: str
    mark: str  # in the text of the message; "" for a read
    trace: str
    began: float
    ended: float
    answer: Answer


@dataclass
class Load:
    """Runs as a context; afterwards ``attempts`` has every request, in the order of their ends."""

    client: Client
    agents: Sequence[str]  # the first half gets messages, the second streams
    attempts: list[Attempt] = field(default_factory=list)
    family: str = field(default_factory=lambda: secrets.token_hex(TRACE_BYTES))
    """Begins every trace of this load."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _paused: bool = False
    _turns: threading.Condition = field(default_factory=threading.Condition)
    _under_way: int = 0
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        half = len(self.agents) // 2
        jobs: list[Callable[[], None]] = [self._read] * READERS
        jobs += [self._writer(MESSAGE, one) for one in self.agents[:half]]
        jobs += [self._writer(STREAM, one) for one in self.agents[half:]]
        self._threads = [
            threading.Thread(target=self._repeat, args=(job,), daemon=True) for job in jobs
        ]
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self.resume_writes()
        # Interrupted, nobody counts what is still under way.
        for one in [] if kind else self._threads:
            one.join()

    def pause_writes(self) -> None:
        """Send no further message and wait until those under way have ended."""
        with self._turns:
            self._paused = True
            self._turns.wait_for(lambda: not self._under_way)

    def resume_writes(self) -> None:
        """Go on with messages."""
        with self._turns:
            self._paused = False
            self._turns.notify_all()

    def _repeat(self, job: Callable[[], None]) -> None:
        while not self._ended.is_set():
            job()
            self._ended.wait(PAUSE_SECONDS)

    def _read(self) -> None:
        trace = self._trace()
        self._note(READ, "", trace, lambda: self.client.read(trace))

    def _writer(self, kind: str, agent: str) -> Callable[[], None]:
        send = self.client.message if kind == MESSAGE else self.client.stream

        def write() -> None:
            with self._turns:
                self._turns.wait_for(lambda: not self._paused)
                if self._ended.is_set():
                    return
                self._under_way += 1
            mark, trace = f"fault-{secrets.token_hex(MARK_BYTES)}", self._trace()
            self._note(kind, mark, trace, lambda: send(agent, f"{mark} {WORDS}", trace))
            with self._turns:
                self._under_way -= 1
                self._turns.notify_all()

        return write

    def _note(self, kind: str, mark: str, trace: str, send: Callable[[], Answer]) -> None:
        began = time.monotonic()
        answer = send()
        self.attempts.append(Attempt(kind, mark, trace, began, time.monotonic(), answer))

    def _trace(self) -> str:
        return self.family + secrets.token_hex(TRACE_BYTES)


def counts(attempts: Sequence[Attempt]) -> dict[str, Count]:
    """Count requests by kind."""
    return {
        kind: Count(
            sum(one.kind == kind for one in attempts),
            sum(one.kind == kind and not one.answer.done for one in attempts),
        )
        for kind in KINDS
    }


def statuses(attempts: Sequence[Attempt]) -> dict[str, int]:
    """Count failed requests by status; 0 is a connection that broke."""
    return dict(Counter(str(one.answer.status) for one in attempts if not one.answer.done))


def acknowledged(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the messages whose turn ended with success, as far as the client knows."""
    return [one for one in attempts if one.mark and one.answer.done]


def longest_gap(attempts: Sequence[Attempt], since: float) -> float:
    """Return the longest time after ``since`` in which no message was acknowledged, in seconds."""
    ends = sorted(one.ended for one in acknowledged(attempts) if one.ended > since)
    return max((later - earlier for earlier, later in pairwise([since, *ends])), default=0.0)


def unclear(attempts: Sequence[Attempt]) -> list[str]:
    """Return the answers that do not tell a client what to do, each kind of them once."""
    found = [one.answer for one in attempts if not one.answer.done and _is_unclear(one.answer)]
    return sorted({f"{one.status} {' '.join(one.text.split())[:_SHOWN]}" for one in found})


def _is_unclear(answer: Answer) -> bool:
    if answer.status == 0:
        return False
    if _INTERNALS.search(answer.text):
        return True
    return answer.status == SERVER_ERROR and _NAMED not in answer.text
