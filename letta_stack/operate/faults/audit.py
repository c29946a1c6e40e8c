"""What is left afterwards: whether each acknowledged message is in the database, and each request in the telemetry."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.errors import WaitTimedOut
from letta_stack.operate import postgres
from letta_stack.topology.catalogue import COLLECTOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from letta_stack.operate.faults.load import Attempt
    from letta_stack.operate.faults.stack import Stage

WHOLE = {"user", "assistant"}  # the rows that a turn of this load leaves
SPANS = "/var/lib/letta/otel/telemetry*.json"
FLUSH_SECONDS = 12.0  # servers send what they have every five


def stored(stack: Stage, agents: Sequence[str]) -> dict[str, set[str]]:
    """Return the roles of the rows in which each mark of the load stands."""
    ids = ", ".join(map(postgres.literal, agents))
    rows = stack.database().query(
        "SELECT role, substring(content::text from 'fault-[0-9a-f]{16}') FROM messages "  # noqa: S608 - quoted
        f"WHERE agent_id IN ({ids}) AND content::text ~ 'fault-[0-9a-f]{{16}}'"
    )
    found: dict[str, set[str]] = defaultdict(set)
    for role, mark in rows:
        found[mark].add(role)
    return found


def lost(acknowledged: Iterable[Attempt], rows: Mapping[str, set[str]]) -> list[Attempt]:
    """Return the acknowledged messages that are not whole in the database."""
    return [one for one in acknowledged if not rows.get(one.mark, set()) >= WHOLE]


def stored_unacknowledged(attempts: Iterable[Attempt], rows: Mapping[str, set[str]]) -> int:
    """Count the messages that failed for the client and are stored: whoever repeats them has them twice."""
    return sum(bool(one.mark and not one.answer.done and rows.get(one.mark)) for one in attempts)


def spans_lost(stack: Stage, family: str, expected: set[str]) -> int | None:
    """Count the traces of answered requests that did not reach the collector's file; None if there is no such file."""
    seen: set[str] = set()

    def all_there() -> bool:
        seen.update(traces(stack, family) or ())
        return expected <= seen

    if traces(stack, family) is None:
        return None
    try:
        wait_until(all_there, timeout=FLUSH_SECONDS, interval=1.0, describe="")
    except WaitTimedOut:
        return len(expected - seen)
    return 0


def traces(stack: Stage, family: str) -> set[str] | None:
    """Return the identifiers in the collector's file that begin with ``family``; None without a file."""
    command = f"ls {SPANS} >/dev/null && grep -ohE '{family}[0-9a-f]{{16}}' {SPANS} | sort -u || test $? = 1"
    found = process.probe(stack.inside(COLLECTOR.name, "sh", "-c", command))
    return set(found.stdout.split()) if found.ok else None
