"""How an answer leaves the server, with a stand-in for uvicorn's cycle; the smoke tests show the real one."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from entrypoint import answers

HEAD, BODY = b"head", b"body"


class Transport:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


class Cycle:
    """Writes as uvicorn does: the head, then each part of the body, then what ends it."""

    def __init__(self, transport: Transport) -> None:
        self.transport: Any = transport
        self.response_started = False
        self.response_complete = False
        self.logger = logging.getLogger("uvicorn.error")

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.response_started = True
            self.transport.write(HEAD)
            return
        self.transport.write(message["body"])
        self.transport.write(b"")
        self.response_complete = True

    async def run_asgi(self, app: Any) -> None:
        try:
            await app({}, None, self.send)
        except RuntimeError:
            self.transport.close()


def answer(cycle: Cycle, headers: list[tuple[bytes, bytes]], *parts: bytes) -> None:
    async def run() -> None:
        await cycle.send({"type": "http.response.start", "headers": headers})
        for part in parts:
            await cycle.send({"type": "http.response.body", "body": part})

    asyncio.run(run())


@pytest.fixture
def cycle() -> type[Cycle]:
    class Patched(Cycle):
        pass

    module = SimpleNamespace(RequestResponseCycle=Patched)
    answers.send_an_answer_in_one_piece(module)
    answers.keep_a_connection_whose_answer_is_whole(module)
    return Patched


def test_an_answer_of_known_length_is_one_piece(cycle: type[Cycle]) -> None:
    transport = Transport()

    answer(cycle(transport), [(b"Content-Length", b"4")], BODY)

    assert transport.written == [HEAD + BODY, b""]


def test_the_head_of_a_stream_does_not_wait(cycle: type[Cycle]) -> None:
    transport = Transport()

    answer(cycle(transport), [(b"content-type", b"text/event-stream")])

    assert transport.written == [HEAD]


def test_an_answer_that_breaks_off_keeps_its_head(cycle: type[Cycle]) -> None:
    transport = Transport()
    one = cycle(transport)

    answer(one, [(b"content-length", b"4")])
    assert transport.written == []
    one.transport.close()

    assert transport.written == [HEAD]
    assert one.transport.is_closing()


@pytest.mark.parametrize("whole", [True, False])
def test_an_error_closes_the_connection_only_of_an_answer_that_is_not_whole(
    cycle: type[Cycle], caplog: pytest.LogCaptureFixture, *, whole: bool
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "headers": [(b"content-length", b"4")]})
        if whole:
            await send({"type": "http.response.body", "body": BODY})
        raise RuntimeError("what a handler has answered")

    transport = Transport()
    asyncio.run(cycle(transport).run_asgi(app))

    assert transport.closed is not whole
    assert ("Exception in ASGI application" in caplog.text) is whole
