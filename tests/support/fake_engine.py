"""An engine that answers from a table and remembers what it was told, in place of docker."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import CommandFailed
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

PROJECT = "stack"
SERVICES = (
    "letta-server",
    "letta-server",
    "letta-db",
    "letta-redis",
    "letta-nginx",
    "letta-collector",
)


def container_states() -> list[State]:
    """Return a healthy project with two servers."""
    return [
        State(service, f"{PROJECT}-{service}-{number}", "running", "healthy", 0)
        for number, service in enumerate(SERVICES, start=1)
    ]


def project(**more: Any) -> Any:
    """Return what stands for a project of those containers."""
    runner = SimpleNamespace(states=container_states)
    return SimpleNamespace(name=PROJECT, runner=runner, **more)


@dataclass
class FakeEngine:
    """``answers`` are by a word of the command; what has none ends well and says nothing."""

    answers: Mapping[str, str] = field(default_factory=dict)
    broken: Sequence[str] = ()  # words of commands that fail
    said: list[str] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
        """Take the place of every command."""
        monkeypatch.setattr(process, "probe", self.probe)
        monkeypatch.setattr(process, "capture", self.capture)
        return self

    def probe(self, argv: Sequence[str], **_: Any) -> Completed:
        line = " ".join(argv)
        self.said.append(line)
        if any(word in line for word in self.broken):
            return Completed(1, "", "broken")
        return Completed(
            0, next((text for word, text in self.answers.items() if word in line), ""), ""
        )

    def capture(self, argv: Sequence[str], **options: Any) -> str:
        done = self.probe(argv, **options)
        if not done.ok:
            raise CommandFailed(argv, done.exit_code, done.stderr)
        return done.stdout
