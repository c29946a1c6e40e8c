"""A reserve on the database's disk: before it is used up, requests that would store something are refused.

What a full disk breaks cannot be repaired from inside: PostgreSQL stops, and deleting takes room as well. So the server looks
how much is free, and while it is less than the reserve it only reads, deletes, and ends the turns that it has begun.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import time
from typing import TYPE_CHECKING, Any

from . import pooler, ready, unavailable
from .environment import OFF, number
from .log import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]

VARIABLE = "LETTA_STACK_DISK_RESERVE"
DEFAULT_MIB = 512
MIB = 1024**2
CHECK_SECONDS = 2.0
UNKNOWN_SECONDS = 60.0
"""The same while the database does not tell."""
DATABASE = "postgres"
"""Beside the server's own: what is in there is in no backup, and a restore does not replace it."""
QUESTION = "SELECT free FROM public.letta_stack_disk"
"""Made by rootfs/docker-entrypoint-initdb.d/disk.sql."""
FULL = "disk-full"

_HEALTH = re.compile(r"/(v1|latest)/(?P<what>health|ready)/")
_HARMLESS = re.compile(
    # What reads although its method is POST, and what makes room or ends something although its method is PATCH.
    r".*/(cancel|check|count|detach(/[^/]+)?|generate-schema|preview-raw-payload|reset-messages|search)/?"
    r"|/(v1|latest)/(runs|conversations)/[^/]+/stream/?"
)


def size(environment: Mapping[str, str]) -> int:
    """Return the reserve in bytes, 0 for none. Raises BadSetting."""
    if environment.get(VARIABLE, "").strip().lower() in OFF:
        return 0
    return number(environment, VARIABLE, default=DEFAULT_MIB, highest=1024**2) * MIB


def stores_something(method: str, path: str) -> bool:
    """Tell whether a request may make the database larger."""
    return method in {"POST", "PUT", "PATCH"} and _HARMLESS.fullmatch(path) is None


class Disk:
    """The database's disk, looked at no more often than every few seconds, and only when somebody wants to know."""

    def __init__(self, reserve: int, ask: Callable[[], Awaitable[int]]) -> None:
        """``ask`` returns how many bytes are free; it raises if it cannot be told, and then there is no reserve."""
        self._reserve, self._ask = reserve, ask
        self._free: int | None = None
        self._next = 0.0
        self._lock = asyncio.Lock()
        self._said: str | None = ""

    async def shortage(self) -> str:
        """Return in one line why nothing may be stored, "" if it may."""
        if not self._reserve:
            return ""
        # Whoever comes while another one asks gets the answer from before.
        if time.monotonic() >= self._next and not self._lock.locked():
            async with self._lock:
                await self._look()
        if self._free is None or self._free >= self._reserve:
            return ""
        return (
            f"The database's disk has {self._free // MIB} MiB free, and {self._reserve // MIB} MiB are kept in reserve, so "
            "nothing new is stored. Reading and deleting work; free some space or enlarge the disk."
        )

    async def _look(self) -> None:
        try:
            self._free = await self._ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on without
            self._free = None
            self._next = time.monotonic() + UNKNOWN_SECONDS
            ready.hint()
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._say(
                f"the database does not tell how much disk is free, so there is no reserve: {cause}"
            )
            return
        self._next = time.monotonic() + CHECK_SECONDS
        if self._free < self._reserve:
            self._say(
                "WARNING: the database's disk is short; requests that store something are refused"
            )
        elif self._said:
            self._say("")
            log("the database's disk has room again")

    def _say(self, line: str) -> None:
        """Log a state once, not each time it is seen."""
        if line and line != self._said:
            log(line)
        self._said = line


class Guard:
    """Refuses what would store something, and says in health and readiness that it does."""

    def __init__(self, app: Any, disk: Disk, version: str, response: Any) -> None:
        """Stand before an ASGI application; ``response`` is the class of JSON responses."""
        self._app, self._disk, self._version, self._response = app, disk, version, response

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        health = _HEALTH.fullmatch(scope["path"])
        asked = health is not None or stores_something(scope["method"], scope["path"])
        shortage = await self._disk.shortage() if asked else ""
        if not shortage:
            answer = self._app
        elif health is None:
            answer = self._response(
                status_code=unavailable.INSUFFICIENT_STORAGE,
                content={"detail": shortage, "reason": FULL},
                headers=unavailable.NO_RETRY,
            )
        else:
            # The process is well. Restarting it, or sending nobody here any more, would leave no way to make room.
            answer = self._response(
                status_code=200 if health["what"] == "health" else 503,
                content={"version": self._version, "status": FULL, "detail": shortage},
            )
        await answer(scope, receive, send)


def refuse_before_the_disk_is_full(module: Any) -> None:
    """Put the guard before the routes, and behind the check of the password.

    letta/server/rest_api/app.py: on a full disk turns were answered that nobody had stored.
    """
    starlette = importlib.import_module("starlette.middleware")
    module.app.user_middleware.append(
        starlette.Middleware(
            Guard,
            disk=Disk(size(os.environ), _asker()),
            version=importlib.import_module("letta").__version__,
            response=importlib.import_module("fastapi.responses").JSONResponse,
        )
    )


def _asker() -> Callable[[], Awaitable[int]]:
    """Return what asks the database, by a connection of its own that is made when it is first needed."""
    sqlalchemy: Any = importlib.import_module("sqlalchemy")
    asyncio_: Any = importlib.import_module("sqlalchemy.ext.asyncio")
    server: Any = importlib.import_module("letta.server.db")
    engine = asyncio_.create_async_engine(
        server.engine.url.set(database=DATABASE),
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args=pooler.CONNECT_ARGUMENTS
        | {"timeout": unavailable.CONNECT_SECONDS, "command_timeout": unavailable.CONNECT_SECONDS},
    )
    question = sqlalchemy.text(QUESTION)

    async def ask() -> int:
        async with engine.connect() as connection:
            return int(await connection.scalar(question))

    return ask
