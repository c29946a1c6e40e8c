"""Says what is slow and how long it has taken: one moving line on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

LOG_INTERVAL_SECONDS = 10.0


class Progress:
    """Context manager around one long step; call ``tick`` as often as you like."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._terminal = sys.stderr.isatty()
        self._started = time.monotonic()
        self._said = self._started
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def tick(self, elapsed: float, detail: str = "") -> None:
        """Show the step, its detail, and the seconds so far."""
        text = f"{self._what}: {detail}" if detail else self._what
        if self._terminal:
            print(f"\r\x1b[2K{text} ({elapsed:.0f} s)", end="", file=sys.stderr, flush=True)
            self._drawn = True
        elif time.monotonic() - self._said >= LOG_INTERVAL_SECONDS:
            self._said = time.monotonic()
            print(f"{text} ({elapsed:.0f} s so far)", file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._drawn:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
        if kind is None:
            elapsed = time.monotonic() - self._started
            print(f"{self._what}: done in {elapsed:.1f} s", file=sys.stderr, flush=True)
