"""The server: imported while the database is still being made, serving as soon as that is done."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
import math
import os
import signal
import socket
import ssl
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from . import database, paths, ready, reload
from .environment import flag, number
from .errors import RedisUnreachable
from .log import log
from .wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

_APPLICATION = "entrypoint.app:app"
_TICK_SECONDS = 1.0
_FLUSH_TIMEOUT = 3.0
"""Seconds for the last spans at shutdown: a collector that is gone must not hold up a `docker stop`."""


def main(wait_for_schema: Callable[[], None] | None = None) -> None:
    """Run the server until SIGTERM; with LETTA_STACK_RELOAD a fresh one after each change of its source.

    It is imported before ``wait_for_schema`` is called, which by default waits for this container's own migration.
    """
    serve = functools.partial(_run, wait_for_schema or _wait_for_own_migration)
    if flag(os.environ, "LETTA_STACK_RELOAD", default=False):
        reload.main(serve)
    serve()


def _run(wait_for_schema: Callable[[], None]) -> None:
    """Run one server. Leaves with os._exit: nothing may hold it up after the last flush."""
    uvicorn = importlib.import_module("uvicorn")
    options: dict[str, Any] = {
        "host": os.environ["HOST"],
        "port": int(os.environ["PORT"]),
        "timeout_keep_alive": number(
            os.environ, "LETTA_UVICORN_TIMEOUT_KEEP_ALIVE", default=5, highest=86400
        ),
        "access_log": False,
        # It has no WebSocket routes.
        "ws": "none",
        # The server's own logging stays as it is, with JSON lines.
        "log_config": None,
    }
    workers = number(os.environ, "LETTA_UVICORN_WORKERS", default=1, highest=64)
    uvicorn_reload = flag(os.environ, "LETTA_UVICORN_RELOAD", default=False)
    if workers > 1 or uvicorn_reload:
        # These import the application themselves, each for itself.
        wait_for_schema()
        _wait_for_redis()
        uvicorn.run(_APPLICATION, workers=workers, reload=uvicorn_reload, **options)
        return
    application = importlib.import_module("entrypoint.app").app
    # Upstream's logging silences uvicorn altogether, also when it cannot bind its port.
    logger = logging.getLogger("uvicorn")
    logger.setLevel(logging.WARNING)
    logger.handlers.clear()
    # The server fails without it.
    wait_for_schema()
    _wait_for_redis()
    server = _server_class(uvicorn.Server)(uvicorn.Config(application, **options))
    # uvicorn sends itself the signal that stopped it again, with the handler that was there before: by default that is
    # the death of the process, with status 143 and without the last spans.
    for number_ in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number_, lambda *_: None)
    server.run()
    _leave(0 if server.started else 1)


def _server_class(base: Any) -> Any:
    """Return uvicorn's server class, which says when it serves, and does not look ten times a second whether to stop."""

    class Server(base):  # type: ignore[misc]  # uvicorn is not there when types are checked
        _wake_up: Callable[[], object] | None = None

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                await ready.start(self)
                seconds = time.monotonic() - float(os.environ["LETTA_STACK_STARTED"])
                log(f"serving on port {self.config.port} after {seconds:.1f} s")

        async def main_loop(self) -> None:
            signalled = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._wake_up = functools.partial(loop.call_soon_threadsafe, signalled.set)
            # Zero is the tick that renews the Date header, which is wanted each second.
            while not await self.on_tick(0):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(signalled.wait(), _TICK_SECONDS)

        def handle_exit(self, number_: int, frame: Any) -> None:
            super().handle_exit(number_, frame)
            if self._wake_up is not None:
                self._wake_up()

    return Server


def _wait_for_own_migration() -> None:
    """Wait until it is done; if it fails it ends the container, so this needs no limit of its own."""
    wait_until(
        lambda: None if paths.MIGRATED.exists() else "not done yet",
        what="the database migration",
        timeout=None,
        interval=0.02,
        # The migration reports for itself.
        report_every=math.inf,
    )


def _wait_for_redis() -> None:
    """Wait until Redis answers: the server would do without for ever (letta/data_sources/redis_client.py).

    Raises RedisUnreachable.
    """
    host, port = os.environ["LETTA_REDIS_HOST"], int(os.environ.get("LETTA_REDIS_PORT", "6379"))
    authority = os.environ.get("LETTA_STACK_REDIS_CA", "")
    context = ssl.create_default_context(cafile=authority) if authority else None
    try:
        wait_until(
            lambda: _redis_reason(host, port, os.environ.get("LETTA_REDIS_PASSWORD", ""), context),
            what=f"Redis at {host}:{port}",
            timeout=float(os.environ["LETTA_STACK_WAIT_TIMEOUT"]),
        )
    except TimeoutError as error:
        raise RedisUnreachable(
            f"{error}; check LETTA_REDIS_HOST, LETTA_REDIS_PORT and LETTA_REDIS_PASSWORD, or unset LETTA_REDIS_HOST for the embedded one"
        ) from error


def _redis_reason(
    host: str, port: int, password: str, context: ssl.SSLContext | None
) -> str | None:
    """Return why Redis cannot be used, None if it can. Raises RedisUnreachable for a certificate that is not valid."""
    login = _command("AUTH", password) if password else b""
    wanted = b"+OK\r\n+PONG\r\n" if password else b"+PONG\r\n"
    try:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((host, port), timeout=2))
            if context is not None:
                connection = context.wrap_socket(connection, server_hostname=host)
                stack.enter_context(connection)
            connection.sendall(login + _command("PING"))
            answer = piece = connection.recv(256)
            # The answers to two commands may come in two pieces.
            while piece and answer != wanted and wanted.startswith(answer):
                piece = connection.recv(256)
                answer += piece
    except ssl.SSLCertVerificationError as error:
        raise RedisUnreachable(
            f"the certificate of Redis at {host}:{port} is not valid: {error.verify_message}; check the file that "
            f"{database.AUTHORITY} names, or make new certificates: `inv certs.internal`"
        ) from error
    except OSError as error:
        return str(error)
    return None if answer == wanted else f"it answers {answer[:60]!r}"


def _command(*words: str) -> bytes:
    """Write a command in Redis's protocol, where any byte may stand in a word."""
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded
    )


def _leave(exit_code: int) -> None:
    """Send the last spans and metrics, then end, whatever else may still want to run."""
    flusher = threading.Thread(target=_flush_telemetry, daemon=True)
    flusher.start()
    flusher.join(_FLUSH_TIMEOUT)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _flush_telemetry() -> None:
    for module, provider in (
        ("trace", "get_tracer_provider"),
        ("_logs", "get_logger_provider"),
        ("metrics", "get_meter_provider"),
    ):
        api = importlib.import_module(f"opentelemetry.{module}")
        shutdown = getattr(getattr(api, provider)(), "shutdown", None)
        if shutdown is not None:
            shutdown()
