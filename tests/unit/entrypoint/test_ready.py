"""The port that is open while the database can be used, on a scripted database and real sockets."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from entrypoint import ready

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LIMIT = 10.0
"""Seconds for what takes milliseconds on an idle machine."""


class Connection(asyncio.Protocol):
    """One of uvicorn's, as far as the port looks at it."""

    def __init__(self, server_state: Any, **_: Any) -> None:
        self.server: tuple[str, int] | None = None
        self.state = server_state
        self.ended = False

    def connection_made(self, transport: Any) -> None:
        self.server = transport.get_extra_info("sockname")
        self.transport = transport
        self.state.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.state.connections.discard(self)

    def shutdown(self) -> None:
        self.ended = True
        self.transport.close()


class Stage:
    """A server with the port, and a database that answers or not."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.silent = False
        self.asked = 0
        config = SimpleNamespace(host="127.0.0.1", backlog=8, http_protocol_class=Connection)
        self.server = SimpleNamespace(
            config=config,
            server_state=SimpleNamespace(connections=set()),
            lifespan=SimpleNamespace(state={}),
            servers=[],
            should_exit=False,
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.number = int(free.getsockname()[1])
        self.port = ready.Port(self.server, self.number, self.ask)

    async def ask(self) -> None:
        self.asked += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.error:
            raise self.error

    @property
    def listens(self) -> bool:
        return bool(self.server.servers)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():  # noqa: ASYNC110 - of whatever kind it is
                await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "CHECK_SECONDS", 0.01)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[ready.Port]:
    ports: list[ready.Port] = []
    monkeypatch.setattr(ready, "_opened", ports)
    return ports


def run(scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def staged() -> None:
        stage = Stage()
        await stage.port.open()
        await scene(stage)
        for one in stage.server.servers:
            one.close()

    asyncio.run(staged())


def test_a_database_that_refuses_closes_the_port_until_it_takes_connections_again() -> None:
    async def scene(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.number)
        await stage.until(lambda: bool(stage.server.server_state.connections))
        stage.error = ConnectionRefusedError(111, "refused")
        stage.port.hint()
        await stage.until(lambda: not stage.listens)

        # Nobody gets in, and what is idle ends.
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", stage.number)

        stage.error = None
        await stage.until(lambda: stage.listens)
        _, writer = await asyncio.open_connection("127.0.0.1", stage.number)
        writer.close()

    run(scene)


def test_connections_to_the_servers_own_port_stay() -> None:
    async def scene(stage: Stage) -> None:
        other = Connection(stage.server.server_state)
        other.server = ("127.0.0.1", 8283)
        stage.server.server_state.connections.add(other)
        stage.error = ConnectionRefusedError(111, "refused")
        stage.port.hint()
        await stage.until(lambda: not stage.listens)

        assert not other.ended

    run(scene)


def test_a_hint_without_a_reason_changes_nothing_and_many_are_one() -> None:
    async def scene(stage: Stage) -> None:
        (listener,) = stage.server.servers
        for _ in range(100):
            stage.port.hint()
        await stage.until(lambda: stage.asked > 0)
        await asyncio.sleep(0)

        assert stage.asked == 1
        assert stage.server.servers == [listener]

    run(scene)


def test_a_database_that_says_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "CONNECT_SECONDS", 0.01)

    async def scene(stage: Stage) -> None:
        stage.silent = True
        stage.port.hint()
        await stage.until(lambda: not stage.listens)
        # A server that stops opens nothing.
        stage.server.should_exit, stage.silent = True, False
        asked = stage.asked
        await stage.until(lambda: stage.asked > asked)
        await asyncio.sleep(0.02)
        assert not stage.listens

    run(scene)


@pytest.mark.parametrize("lasts", [True, False])
def test_a_transaction_that_lasts_too_long_is_a_hint(
    lasts: bool,
    opened: list[ready.Port],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ready, "SLOW_SECONDS", 0.01)

    async def scene(stage: Stage) -> None:
        opened.append(stage.port)
        with ready.watched():
            if lasts:
                await stage.until(lambda: stage.asked > 0)
        await asyncio.sleep(0.03)

        assert stage.asked == lasts

    run(scene)


def test_without_the_setting_there_is_no_port(opened: list[ready.Port]) -> None:
    asyncio.run(ready.start(None))
    ready.hint()
    with ready.watched():
        pass

    assert opened == []
