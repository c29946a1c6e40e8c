"""The one wait loop. It runs on the monotonic clock and on a fixed schedule."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from letta_stack.errors import WaitTimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T | None],
    *,
    timeout: float,
    interval: float = 0.1,
    describe: Callable[[], str] | str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return the predicate's first true value.

    Attempts start every ``interval`` seconds however long each one takes, so that readiness is noticed
    within half an interval on average. After ``timeout`` seconds ``WaitTimedOut`` says what ``describe`` gives:
    what was waited for, and what was last seen.
    """
    started = clock()
    attempt = 0
    while True:
        if value := predicate():
            return value
        elapsed = clock() - started
        if elapsed >= timeout:
            text = describe if isinstance(describe, str) else describe()
            message = f"gave up after {timeout:g} s: {text}"
            raise WaitTimedOut(message)
        attempt = max(attempt + 1, int(elapsed / interval) + 1)
        sleep(max(0.0, min(attempt * interval, timeout) - elapsed))
