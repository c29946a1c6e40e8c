"""What a fault gets: the stack, the load, a source of chance, and a place for what it sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from letta_stack.base import console
from letta_stack.operate.faults.stack import Stack

if TYPE_CHECKING:
    from random import Random

    from letta_stack.operate.faults.load import Load
    from letta_stack.operate.faults.stack import Stage
    from letta_stack.operate.faults.workload import Model


@dataclass
class Scene:
    """One fault while it acts."""

    stage: Stage
    load: Load
    chance: Random
    model: Model
    notes: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)

    @property
    def stack(self) -> Stack:
        """The stage, where it is a stack on this host, as the faults of one host need it."""
        if not isinstance(self.stage, Stack):
            raise TypeError(type(self.stage))
        return self.stage

    def pick(self, service: str) -> str:
        """Choose one container of a service."""
        return self.chance.choice(self.stack.containers(service))

    def note(self, line: str) -> None:
        """Keep what happened, for the log and the report."""
        console.say(f"  {line}")
        self.notes.append(line)

    def require(self, holds: bool, line: str) -> None:  # noqa: FBT001 - what is asserted
        """Note what has to hold, as a breach where it does not."""
        if holds:
            self.note(line)
        else:
            self.breaches.append(f"not so: {line}")
