"""Containers that ended and that the engine started again: they look healthy, and the reason is far up in a log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.operate.doctor.model import Finding, ok, skip, warn

if TYPE_CHECKING:
    from letta_stack.operate.doctor.model import Subject

RECENT = timedelta(days=1)
AROUND = timedelta(seconds=10)  # of an end, in which the last words are written
FORMAT = "{{.Name}} {{.RestartCount}} {{.State.FinishedAt}}"
SECONDS = len("2026-01-01T00:00:00")
KILLED = "letta-stack: killed, because "
"""How the last words of the image begin when memory ended it: rootfs/etc/letta-stack/why-killed."""


def restarts(subject: Subject, now: datetime | None = None) -> Finding:
    """Look which containers the engine started again within a day, and for what memory had to do with it."""
    now = now or datetime.now(UTC)
    names = [one.container for one in subject.states]
    if not names:
        return skip("restarts", "no container is there")
    lines = process.probe(["docker", "container", "inspect", f"--format={FORMAT}", *names]).stdout
    ended = [(name.lstrip("/"), int(count), moment(at)) for name, count, at in rows(lines)]
    recent = [one for one in ended if one[1] and now - one[2] < RECENT]
    if not recent:
        return ok("restarts", "no container was started again by itself within a day")
    reasons = {name: reason(name, at) for name, _, at in recent}
    seen = "; ".join(
        f"{name} ended at {at:%H:%M} UTC and was started again (no. {count})"
        f"{': ' + reasons[name] if reasons[name] else ''}"
        for name, count, at in recent
    )
    if any(reasons.values()):
        return warn("restarts", seen, "see docs/runbooks/ContainerKilledForMemory.md")
    return warn("restarts", seen, f"`inv logs {subject.project.flags}` says why it ended")


def rows(text: str) -> list[list[str]]:
    """Return the words of each line."""
    return [line.split() for line in text.splitlines()]


def moment(text: str) -> datetime:
    """Read the engine's time, which has nanoseconds."""
    return datetime.fromisoformat(text[:SECONDS]).replace(tzinfo=UTC)


def reason(container: str, ended: datetime) -> str:
    """Return what memory had to do with an end, "" if nothing."""
    around = [
        f"--since={(ended - AROUND).isoformat()}",
        f"--until={(ended + AROUND).isoformat()}",
    ]
    said = process.probe(["docker", "logs", *around, container])
    found = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith(KILLED)]
    return found[-1].removeprefix("letta-stack: ") if found else ""
