"""Says what is slow and how long it has taken: one moving line on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from letta_stack.base import console

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

TERMINAL_SECONDS = 1.0
LOG_SECONDS = 10.0
QUIET_SECONDS = 1.0  # what took less than this was not slow


class Progress:
    """Context manager around one long step. A thread speaks, so that the step itself need not.

    ``detail`` is asked for how far the step is; what it raises is not the step's business.
    """

    def __init__(self, what: str, *, detail: Callable[[], str] | None = None) -> None:
        self._what = what
        self._detail = detail
        self._terminal = sys.stderr.isatty()
        self._started = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._speak, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        elapsed = time.monotonic() - self._started
        if self._terminal:
            console.rewrite("")
        if kind is None and elapsed >= QUIET_SECONDS:
            console.say(f"{self._what}: done in {elapsed:.1f} s")

    def _speak(self) -> None:
        while not self._done.wait(TERMINAL_SECONDS if self._terminal else LOG_SECONDS):
            elapsed = time.monotonic() - self._started
            text = f"{self._what} ({elapsed:.0f} s so far)"
            if detail := self._ask():
                text += f": {detail}"
            if self._done.is_set():
                return
            if self._terminal:
                console.rewrite(text)
            else:
                console.say(text)

    def _ask(self) -> str:
        try:
            return self._detail() if self._detail else ""
        except Exception:  # noqa: BLE001 - the step itself will fail with the reason
            return ""
