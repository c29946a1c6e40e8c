"""What a fault is, what is expected of the stack meanwhile, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from letta_stack.operate.faults.scene import Scene
    from letta_stack.operate.faults.stack import Stack

READ = "read"
MESSAGE = "message"
STREAM = "stream"
KINDS = (READ, MESSAGE, STREAM)


@dataclass(frozen=True)
class Expect:
    """What has to hold; that no acknowledged write is lost and every refusal is clear holds for all of them."""

    healthy: float = 60.0  # seconds from the undo, or from the fault where nothing has to be undone
    unaffected: tuple[str, ...] = ()  # the kinds of requests of which none may fail
    at_most: float = 1.0  # the share of all requests that may fail
    reads_after: float = (
        0.0  # seconds into it, after which no read fails although it lasts; 0 for no such promise
    )
    writes_within: float = 0.0  # seconds that a client of PostgreSQL may go without an acknowledged write; 0 for no such promise


@dataclass(frozen=True)
class Fault:
    """One way in which the stack breaks. ``act`` breaks it, and its exit undoes that whatever happened meanwhile."""

    name: str
    what: str
    act: Callable[[Scene], AbstractContextManager[None]]
    undo: str = ""  # "" is what repairs itself
    seconds: float = 3.0  # how long it lasts
    expect: Expect = field(default_factory=Expect)
    needs: Callable[[Stack], str] = lambda _: ""  # why it cannot be caused here, "" if it can
    quick: bool = False  # short and telling enough for every run of the checks


@dataclass(frozen=True)
class Count:
    """Requests of one kind."""

    sent: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Rows:
    """What a client of PostgreSQL itself wrote meanwhile, where the database has several members."""

    acknowledged: int
    longest_gap: float  # seconds without an acknowledged write
    lost: dict[str, int]  # acknowledged rows that a member has not in the end, by its container


@dataclass(frozen=True)
class Outcome:
    """What one fault did."""

    fault: str
    what: str
    seconds_to_healthy: float = 0.0
    requests: dict[str, Count] = field(default_factory=dict)  # by kind
    late_reads: Count = Count()  # those that began after `Expect.reads_after`
    statuses: dict[str, int] = field(default_factory=dict)  # of failed requests; "0": no answer
    acknowledged: int = 0  # messages whose turn ended with success
    lost: int = 0  # of these, not whole in the database
    stored_unacknowledged: int = 0  # the client saw a failure, the user's message is stored
    longest_gap: float = 0.0  # seconds without an acknowledged message
    rows: Rows | None = None
    spans_expected: int = 0
    spans_lost: int | None = None  # None: the collector does not write to files
    unclear: tuple[str, ...] = ()  # refusals that do not tell a client what to do
    notes: tuple[str, ...] = ()
    breaches: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything that was asserted holds."""
        return not self.breaches

    @property
    def verdict(self) -> str:
        """Say it in a word."""
        if self.skipped:
            return "skipped"
        return "passed" if self.passed else "FAILED"


def breaches(expect: Expect, outcome: Outcome) -> Sequence[str]:
    """Return a line for everything that does not hold."""
    found = list(outcome.breaches)
    if outcome.lost:
        found.append(f"{outcome.lost} of {outcome.acknowledged} acknowledged messages are lost")
    if not outcome.acknowledged:
        found.append("no message was acknowledged, so nothing is proven")
    if outcome.seconds_to_healthy > expect.healthy:
        found.append(f"healthy after {outcome.seconds_to_healthy:.1f} s, not {expect.healthy:g} s")
    found += [
        f"{count} {kind} requests failed, none may"
        for kind in expect.unaffected
        if (count := outcome.requests[kind].failed)
    ]
    sent = sum(one.sent for one in outcome.requests.values())
    failed = sum(one.failed for one in outcome.requests.values())
    if failed > sent * expect.at_most:
        found.append(f"{failed} of {sent} requests failed, more than {expect.at_most:.0%}")
    if expect.reads_after:
        late = outcome.late_reads
        if late.failed:
            found.append(
                f"{late.failed} of {late.sent} reads failed that began {expect.reads_after:g} s after it or later, none may"
            )
        if not late.sent:
            found.append(f"no read began {expect.reads_after:g} s after it, so nothing is proven")
    found += [f"unclear answer: {one}" for one in outcome.unclear]
    if outcome.rows:
        found += breaches_of_rows(expect, outcome.rows)
    return found


def breaches_of_rows(expect: Expect, rows: Rows) -> list[str]:
    """Return a line for everything that does not hold of what was written to PostgreSQL itself."""
    found = [
        f"{count} of {rows.acknowledged} acknowledged rows are not in {member}"
        for member, count in rows.lost.items()
        if count
    ]
    if not rows.acknowledged or not rows.lost:
        found.append("no row was written, or no member could be asked for it")
    if expect.writes_within and rows.longest_gap > expect.writes_within:
        found.append(
            f"no row was written for {rows.longest_gap:.1f} s, more than {expect.writes_within:g} s"
        )
    return found
