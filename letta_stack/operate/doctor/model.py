"""What a check finds, and what every check may ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.protocol import State

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"
ORDER = (FAIL, WARN, OK, SKIP)


@dataclass(frozen=True)
class Finding:
    """The answer of one check: ``state`` is ok, warn, fail or skip (nothing to check here)."""

    name: str
    state: str
    seen: str
    fix: str = ""  # what to do next, "" if nothing is wrong
    repair: Callable[[], str] | None = field(default=None, compare=False)  # safe; says what it did


@dataclass
class Subject:
    """A project with what several checks want to know, asked once."""

    project: Project
    backups: Path
    states: list[State]

    def running(self, service: str) -> str:
        """Return the first running container of a service, "" if there is none."""
        return next(
            (
                one.container
                for one in self.states
                if one.service == service and one.state == "running"
            ),
            "",
        )

    @cached_property
    def server(self) -> str:
        """The first running server."""
        return self.running(SERVER)


def ok(name: str, seen: str) -> Finding:
    """Say that there is nothing to do."""
    return Finding(name, OK, seen)


def warn(name: str, seen: str, fix: str) -> Finding:
    """Say that it works now, and should be looked at."""
    return Finding(name, WARN, seen, fix)


def fail(name: str, seen: str, fix: str) -> Finding:
    """Say that it does not work."""
    return Finding(name, FAIL, seen, fix)


def skip(name: str, seen: str) -> Finding:
    """Say that there is nothing to check."""
    return Finding(name, SKIP, seen)
