"""`inv wait URL`: notices within milliseconds that a service answers, and says what it last saw if it does not."""

from __future__ import annotations

import http.client
import ssl
import time
from urllib.parse import SplitResult, urlsplit

from letta_stack.base.wait import wait_until
from letta_stack.errors import BadValue

# One request; a server that has accepted the connection may need this long while it warms up.
REQUEST_SECONDS = 5.0
# A refused connection costs microseconds, so it is tried again this much sooner than an answer that was wrong.
REFUSED_SPEEDUP = 4


def wait_for_status(
    url: str,
    *,
    status: int = 200,
    timeout: float = 60.0,
    interval: float = 0.1,
    context: ssl.SSLContext | None = None,
) -> float:
    """Return the seconds until ``url`` answered with ``status``; ``WaitTimedOut`` says what was seen instead.

    ``context`` is what a server's certificate is checked with (default: the authorities of this machine).
    """
    parts = split(url)
    last_seen = "nothing was tried"
    started = time.monotonic()
    next_request = started

    def attempt() -> bool:
        nonlocal last_seen, next_request
        if time.monotonic() < next_request:
            return False
        remaining = timeout - (time.monotonic() - started)
        try:
            answer = ask(
                parts, timeout=max(interval, min(REQUEST_SECONDS, remaining)), context=context
            )
        except ConnectionRefusedError:
            last_seen = "connection refused"
            return False
        except (OSError, http.client.HTTPException) as error:
            last_seen = f"{type(error).__name__}: {error}"
            answer = None
        if answer == status:
            return True
        if answer is not None:
            last_seen = f"status {answer}"
        # On the schedule of full intervals, however long the request took.
        next_request = started + interval * (int((time.monotonic() - started) / interval) + 1)
        return False

    wait_until(
        attempt,
        timeout=timeout,
        interval=interval / REFUSED_SPEEDUP,
        describe=lambda: f"{url} did not answer with status {status}, last seen: {last_seen}",
    )
    return time.monotonic() - started


def split(url: str) -> SplitResult:
    """Take a URL apart, or say what is wrong with it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BadValue(
            f"{url!r} is not a URL ({error}); give one like http://localhost:8283/"
        ) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadValue(
            f"{url!r} is not an HTTP URL; give one like http://localhost:8283/v1/health/"
        )
    return parts


def ask(parts: SplitResult, *, timeout: float, context: ssl.SSLContext | None = None) -> int:
    """GET once, directly and without following redirects; return the status."""
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(
            host, parts.port, timeout=timeout, context=context or ssl.create_default_context()
        )
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=timeout)
    )
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        return connection.getresponse().status
    finally:
        connection.close()
