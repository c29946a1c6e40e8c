"""What passes through: streams, silence, large bodies, headers, WebSocket."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.gateway.driver import Gateway

STREAMS = 200
UPLOAD = 60_000_000
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def test_events_arrive_one_by_one(gateway: Gateway) -> None:
    with gateway.post("/events?count=5&pause=0.2", stream=True) as answer:
        arrivals = [(time.monotonic(), line) for line in answer.iter_lines() if line]

    assert [line for _, line in arrivals] == [b"data: %d" % number for number in range(5)]
    # All at once if the gateway keeps them.
    assert arrivals[-1][0] - arrivals[0][0] > 0.6
    # The same is asked of any proxy in front of this one.
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"


async def _read_stream(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    data = await reader.read()
    writer.close()
    return data


def test_two_hundred_streams_at_once_are_all_whole(gateway: Gateway) -> None:
    request = (
        b"POST /events?count=3&pause=0.7 HTTP/1.1\r\nHost: localhost\r\n"
        b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    )

    async def burst() -> list[bytes]:
        return await asyncio.gather(*(_read_stream(gateway.port, request) for _ in range(STREAMS)))

    begin = time.monotonic()
    answers = asyncio.run(burst())

    whole = [answer for answer in answers if answer.endswith(b"data: 2\n\n\r\n0\r\n\r\n")]
    assert len(whole) == STREAMS
    # They ran at the same time: one after the other they take 1.4 s each.
    assert time.monotonic() - begin < 1.4 * STREAMS / 10


def test_silence_ends_at_the_limit_and_not_before(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(LETTA_STACK_TURN_TIMEOUT="2")

    assert gateway.post("/silent/limit?seconds=1").json() == {"silent": True}
    begin = time.monotonic()
    late = gateway.post("/silent/limit?seconds=5")

    assert 1.9 < time.monotonic() - begin < 4.5
    assert late.status_code == 504
    assert "may still be running" in late.json()["detail"]
    # The SDK would send it again by itself.
    assert late.headers["X-Should-Retry"] == "false"
    assert "Retry-After" not in late.headers
    # Nor did the gateway.
    assert gateway.count("/silent/limit") == 2


@pytest.mark.long
@pytest.mark.timeout(120)
def test_seventy_seconds_of_silence_survive(gateway: Gateway) -> None:
    assert gateway.post("/silent?seconds=70", timeout=100).json() == {"silent": True}


def test_a_large_upload_passes_whole(gateway: Gateway) -> None:
    data = b"0123456789" * (UPLOAD // 10)

    answer = gateway.post("/echo", data=data).json()

    assert answer["length"] == UPLOAD
    assert answer["sha256"] == hashlib.sha256(data).hexdigest()


def test_an_upload_of_unknown_length_is_not_held_back(gateway: Gateway) -> None:
    begin = time.monotonic()

    def parts() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * 1000

    answer = gateway.post("/echo", data=parts()).json()

    assert answer["length"] == 3000
    assert time.monotonic() - begin < 5


def test_headers_with_underscores_reach_the_server(gateway: Gateway) -> None:
    seen = dict(gateway.get("/echo", headers={"user_id": "user-1"}).json()["headers"])

    assert seen["user_id"] == "user-1"


def test_the_path_reaches_the_server_as_it_was_sent(gateway: Gateway) -> None:
    target = "/echo/openai-proxy%2Fgpt%204//x?b=%2F&a=1"

    with gateway.connect() as connection:
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert f'"path": "{target}"'.encode() in answer


def test_the_host_keeps_its_port(gateway: Gateway) -> None:
    answer = gateway.get("/slash")

    assert answer.headers["Location"] == f"{gateway.url}/slash/"


def test_a_trace_begins_here_or_goes_on(gateway: Gateway) -> None:
    made = gateway.get("/echo")
    kept = gateway.get("/echo", headers={"traceparent": TRACEPARENT, "tracestate": "a=1"})
    replaced = gateway.get("/echo", headers={"traceparent": "nonsense", "tracestate": "a=1"})

    for answer in (made, replaced):
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", answer.headers["traceparent"])
        seen = dict(answer.json()["headers"])
        assert seen["traceparent"] == answer.headers["traceparent"]
        assert "tracestate" not in seen
    assert kept.headers["traceparent"] == TRACEPARENT
    assert dict(kept.json()["headers"])["traceparent"] == TRACEPARENT
    assert dict(kept.json()["headers"])["tracestate"] == "a=1"


def test_a_request_has_one_id_everywhere(gateway: Gateway) -> None:
    answer = gateway.post("/echo?token=hidden", headers={"X-Request-ID": "order-4711"})
    seen = dict(answer.json()["headers"])

    assert answer.headers["X-Request-ID"] == "order-4711"
    assert seen["X-Request-ID"] == seen["X-API-Request-Log-ID"] == "order-4711"
    line = gateway.logged("request_id", "order-4711")
    assert line["traceparent"] == answer.headers["traceparent"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/echo", 200)
    assert float(line["upstream_seconds"]) <= line["seconds"] + 0.001
    forged = gateway.get("/echo", headers={"X-Request-ID": 'a" b'})
    assert re.fullmatch(r"[0-9a-f]{32}", forged.headers["X-Request-ID"])


def test_a_web_socket_echoes(gateway: Gateway) -> None:
    handshake = (
        b"GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with gateway.connect() as connection:
        connection.sendall(handshake)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        # A masked text frame; with a mask of zeros the text is readable.
        connection.sendall(b"\x81\x85\0\0\0\0hello")
        echo = connection.recv(100)

    assert head.startswith(b"HTTP/1.1 101 ")
    # The example of RFC 6455.
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    assert echo == b"\x81\x05hello"


def test_other_upgrades_do_not_pass(gateway: Gateway) -> None:
    offer = {
        "Upgrade": "h2c",
        "Connection": "Upgrade, HTTP2-Settings",
        "HTTP2-Settings": "AAMAAABk",
    }

    seen = dict(gateway.get("/echo", headers=offer).json()["headers"])

    assert "Upgrade" not in seen
    assert "Upgrade" not in seen.get("Connection", "")
