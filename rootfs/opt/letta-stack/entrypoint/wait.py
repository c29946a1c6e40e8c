"""One wait loop on the monotonic clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .log import log

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(
    attempt: Callable[[], str | None],
    *,
    what: str,
    timeout: float | None,
    interval: float = 0.1,
    report_every: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Call ``attempt`` until it returns None; a string is the reason why it is not there yet.

    ``timeout``, ``interval`` and ``report_every`` are seconds; a ``timeout`` of None waits for ever.
    Raises TimeoutError with ``what``, the time and the last reason.
    """
    started = reported = clock()
    while (reason := attempt()) is not None:
        now = clock()
        if timeout is not None and now - started >= timeout:
            raise TimeoutError(f"{what} did not answer within {timeout:g} s: {reason}")
        if now - reported >= report_every:
            reported = now
            log(f"waiting for {what}, {now - started:.0f} s so far: {reason}")
        sleep(interval)
