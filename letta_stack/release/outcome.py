"""How a push ended in each repository, and what the user reads about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from letta_stack.errors import InterruptedByUser, LettaStackError, ReleaseIncomplete

if TYPE_CHECKING:
    from letta_stack.registry.reference import Target


@dataclass
class Outcome:
    """Which targets are complete, which failed, and which are still to come (``waiting``)."""

    waiting: list[Target]
    done: list[Target] = field(default_factory=list)
    failed: dict[Target, LettaStackError] = field(default_factory=dict)

    def fail(self, target: Target, error: LettaStackError) -> None:
        """Note that a target will not be finished."""
        self.waiting.remove(target)
        self.failed[target] = error

    def finish(self, target: Target) -> None:
        """Note that a target has everything."""
        self.waiting.remove(target)
        self.done.append(target)

    def raise_for_failures(self) -> None:
        """Raise what went wrong: one target's own error, or the list."""
        if not self.failed:
            return
        if not self.done and len(self.failed) == 1:
            raise next(iter(self.failed.values()))
        done = ", ".join(map(str, self.done)) or "none"
        reasons = "; ".join(f"NOT in {target}: {error}" for target, error in self.failed.items())
        message = f"released in: {done}; {reasons} -- run the same command again to complete it"
        raise ReleaseIncomplete(message)

    def interrupted(self) -> InterruptedByUser:
        """Return what to raise after Ctrl-C."""
        done = ", ".join(map(str, self.done)) or "none"
        left = ", ".join(map(str, [*self.waiting, *self.failed])) or "none"
        message = (
            f"interrupted; complete: {done}; not complete: {left}. "
            "No tag names anything incomplete; run the same command again to go on"
        )
        return InterruptedByUser(message)
