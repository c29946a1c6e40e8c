"""A rule, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Service = Mapping[str, Any]

WAIVER_LABEL = "letta-stack.waive."  # and the rule's name; the label's value is the reason


@dataclass(frozen=True)
class Rule:
    """One thing that is kept to everywhere."""

    name: str
    reason: str
    fix: str


@dataclass(frozen=True)
class ServiceRule(Rule):
    """One thing that every service keeps to."""

    problems: Callable[[Service], Iterator[str]]


@dataclass(frozen=True)
class Finding:
    """A rule that something breaks."""

    source: str  # topology or file
    service: str  # or alert, or panel
    rule: Rule
    problem: str
    waiver: str = ""  # why it may; "" if nobody said so

    def __str__(self) -> str:
        """Say what is wrong, and what to do or why it may stay."""
        end = f"waived: {self.waiver}" if self.waiver else self.rule.fix
        return f"{self.source}: {self.service}: {self.rule.name}: {self.problem}; {end}"
