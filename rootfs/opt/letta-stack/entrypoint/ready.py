"""A second port, for the gateway: open while PostgreSQL takes connections of this replica.

Errors are answered faster than anything else, so a gateway that chooses the replica with the fewest open requests sends most
of them to one that PostgreSQL refuses. A closed port takes it out at once, and nothing of a request was sent then, of a POST
neither. The server's own port stays open: health checks ask there, and the gateway while no replica is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import time
from typing import TYPE_CHECKING, Any

from . import database
from .environment import number
from .log import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

VARIABLE = "LETTA_STACK_READY_PORT"
SLOW_SECONDS = 3.0
"""A transaction that lasts longer is a reason to look: a network that drops packets gives no error."""
CONNECT_SECONDS = 3.0
CHECK_SECONDS = 0.5
"""Between two looks at a database that refuses, and the least between two that it takes."""


class Port:
    """The port, and the task that looks at the database while there is a reason to."""

    def __init__(self, server: Any, port: int, ask: Callable[[], Awaitable[None]]) -> None:
        """Serve what uvicorn's ``server`` serves; ``ask`` raises while the database cannot be used."""
        self._server, self._port, self._ask = server, port, ask
        self._listener: asyncio.Server | None = None
        self._look: asyncio.Task[None] | None = None
        self._next = 0.0

    async def open(self) -> None:
        """Take connections. Raises OSError if the port is in use."""
        config = self._server.config

        def protocol() -> Any:
            return config.http_protocol_class(
                config=config,
                server_state=self._server.server_state,
                app_state=self._server.lifespan.state,
            )

        self._listener = await asyncio.get_running_loop().create_server(
            protocol, host=config.host, port=self._port, backlog=config.backlog
        )
        # uvicorn closes it with its own.
        self._server.servers.append(self._listener)

    def hint(self) -> None:
        """Look at the database soon: a request had a reason to think that it cannot be used."""
        if self._look is None and time.monotonic() >= self._next:
            self._look = asyncio.get_running_loop().create_task(self._until_ready())

    async def _until_ready(self) -> None:
        try:
            while reason := await self._reason():
                self._close(reason)
                await asyncio.sleep(CHECK_SECONDS)
            if self._listener is None and not self._server.should_exit:
                await self.open()
                log("the database takes connections of this server again, and so does this server")
            self._next = time.monotonic() + CHECK_SECONDS
        finally:
            self._look = None

    async def _reason(self) -> str:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, requests would meet it as well
            return str(error).partition("\n")[0] or type(error).__name__
        return ""

    def _close(self, reason: str) -> None:
        """Take no new connection; requests that are under way end, and then their connections."""
        if self._listener is None:
            return
        log(
            f"WARNING: the database takes no connection of this server ({reason}); other replicas get the requests"
        )
        self._listener.close()
        self._server.servers.remove(self._listener)
        self._listener = None
        for connection in list(self._server.server_state.connections):
            if connection.server and connection.server[1] == self._port:
                connection.shutdown()


_opened: list[Port] = []


async def start(server: Any) -> None:
    """Open the port if the topology has one for the gateway. Raises OSError."""
    port = number(os.environ, VARIABLE, default=0, highest=65535)
    if port:
        one = Port(server, port, _ask)
        await one.open()
        _opened.append(one)


def hint() -> None:
    """Say that the database seems not to be usable."""
    for one in _opened:
        one.hint()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Say so of a transaction that lasts too long."""
    if not _opened:
        yield
        return
    timer = asyncio.get_running_loop().call_later(SLOW_SECONDS, hint)
    try:
        yield
    finally:
        timer.cancel()


async def _ask() -> None:
    connection = await connect()
    await connection.close()


async def connect() -> Any:
    """Return a connection of its own to the server's database, by asyncpg."""
    target = database.from_server_environment(os.environ)
    return await importlib.import_module("asyncpg").connect(
        host=target.host.strip("[]"),
        port=target.port,
        user=target.user,
        password=target.password,
        database=target.name,
        ssl=target.ssl_mode,
        statement_cache_size=0,
    )
