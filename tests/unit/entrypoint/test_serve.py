"""The wait for Redis, by TLS, against a listener of this test's own; and how the server notices that it has to stop."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from entrypoint import serve
from entrypoint.errors import RedisUnreachable

from letta_stack.certs import issue, names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = dt.datetime.now(tz=dt.UTC)


def authority_file(path: Path, pair: issue.Pair) -> ssl.SSLContext:
    path.write_bytes(pair.certificate_pem)
    return ssl.create_default_context(cafile=str(path))


@pytest.fixture
def authority() -> issue.Pair:
    return issue.authority("redis", NOW)


@pytest.fixture
def port(authority: issue.Pair, tmp_path: Path) -> Iterator[int]:
    """Answer every command of every connection with PONG, by TLS only."""
    leaf = issue.leaf(authority, names.parse([]), NOW)
    (tmp_path / "leaf.pem").write_bytes(leaf.key_pem + leaf.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem")

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed by the test's end
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(4096)
                    secure.sendall(b"+PONG\r\n")
            except OSError:
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_a_redis_with_a_certificate_of_the_authority_answers(
    port: int, authority: issue.Pair, tmp_path: Path
) -> None:
    context = authority_file(tmp_path / "ca.pem", authority)

    assert serve._redis_reason("localhost", port, "", context) is None  # noqa: SLF001 - the seam


def test_a_redis_with_another_certificate_ends_the_start_at_once(port: int, tmp_path: Path) -> None:
    context = authority_file(tmp_path / "other.pem", issue.authority("other", NOW))

    with pytest.raises(
        RedisUnreachable, match=r"certificate of Redis at localhost:\d+ is not valid"
    ):
        serve._redis_reason("localhost", port, "", context)  # noqa: SLF001 - the seam


def test_a_redis_that_speaks_tls_only_does_not_answer_in_clear(port: int) -> None:
    assert serve._redis_reason("localhost", port, "", None)  # noqa: SLF001 - the seam


class Uvicorn:
    """What uvicorn's server class has of what the start code changes."""

    should_exit = False

    async def on_tick(self, _: int) -> bool:
        return self.should_exit

    def handle_exit(self, *_: object) -> None:
        self.should_exit = True


def test_a_signal_ends_the_server_without_waiting_for_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve, "_TICK_SECONDS", 3600.0)
    server = serve._server_class(Uvicorn)()  # noqa: SLF001 - uvicorn itself is in the image only
    before = signal.signal(signal.SIGUSR1, server.handle_exit)

    async def serve_until_signal() -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(server.main_loop(), timeout=30)

    try:
        asyncio.run(serve_until_signal())
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_during_the_start_ends_the_server_before_it_serves() -> None:
    server = serve._server_class(Uvicorn)()  # noqa: SLF001 - uvicorn itself is in the image only
    server.handle_exit(signal.SIGTERM, None)

    asyncio.run(asyncio.wait_for(server.main_loop(), timeout=30))
