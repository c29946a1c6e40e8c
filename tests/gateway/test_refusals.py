"""What the gateway says itself: always JSON, with the request's id, and whether trying again helps."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from tests.gateway.driver import Gateway

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + SMUGGLED

# Each is read in two ways by some pair of programs: the second request would pass every rule in front of the server.
AMBIGUOUS = {
    "length and chunks": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "two lengths": b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + SMUGGLED,
    "a list of lengths": b"Content-Length: 0, 40\r\n\r\n" + SMUGGLED,
    "a signed length": b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "an encoding that only looks like chunks": b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED,
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED,
    "a folded header": b"X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "a zero byte": b"X-A: b\0\r\n\r\n" + SMUGGLED,
}


def problem(answer: requests.Response, status: int) -> str:
    """Check the form that all of the gateway's own answers have; return what it says."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["status"] == status
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["traceparent"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    return str(body["detail"])


def raw_problem(answer: bytes, status: int) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status), answer
    assert json.loads(body)["status"] == status
    assert len(json.loads(body)["request_id"]) == 32


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_ambiguous_request_is_refused(gateway: Gateway, name: str) -> None:
    answer = gateway.raw(b"POST /front HTTP/1.1\r\nHost: a\r\n" + AMBIGUOUS[name])

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] in {b"400", b"501"}, answer
    assert json.loads(body)["request_id"]
    assert gateway.count("/smuggled") == 0
    assert gateway.count("/front") == 0


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /front HTTP/1.1\r\n\r\n",
        b"GET /front HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /front HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /front HTTP/1.1\r\nHost: a/../b\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /front HTTP/9.9\r\nHost: a\r\n\r\n",
    ],
    ids=["no host", "two hosts", "a space", "a path", "no request line", "no version"],
)
def test_a_bad_host_or_request_line_is_refused(gateway: Gateway, request_: bytes) -> None:
    answer = gateway.raw(request_)

    status = 505 if b"9.9" in request_ else 400
    raw_problem(answer, status)
    assert gateway.count("/front") == 0


def test_a_long_url_or_header_is_refused(gateway: Gateway) -> None:
    assert "URL" in problem(gateway.get("/" + "x" * 40_000), 414)
    assert "headers" in problem(gateway.get("/echo", headers={"X-Long": "x" * 40_000}), 431)


def test_a_body_above_the_limit_is_refused(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(LETTA_STACK_MAX_BODY="1")

    assert "1 MB" in problem(gateway.post("/big", headers={"Content-Length": "1048577"}), 413)
    assert gateway.post("/big", data=b"x" * 1_048_576).json()["length"] == 1_048_576


def test_a_request_that_breaks_off_is_not_repeated(gateway: Gateway) -> None:
    answer = gateway.post("/break", data=b"x" * 100)

    assert "may have processed" in problem(answer, 502)
    assert answer.headers["X-Should-Retry"] == "false"
    assert "Retry-After" not in answer.headers
    assert gateway.count("/break") == 1
    line = gateway.logged("path", "/break")
    assert (line["method"], line["status"], line["upstream_status"]) == ("POST", 502, "502")


def test_the_answers_of_the_server_pass_as_they_are(gateway: Gateway) -> None:
    answer = gateway.get("/busy")

    assert answer.status_code == 503
    assert answer.json() == {"detail": "in the server's own words"}
    assert answer.headers["Retry-After"] == "7"


def test_requests_beyond_the_bound_are_told_to_come_again(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(LETTA_STACK_MAX_REQUESTS="2")
    slow = b"GET /silent?seconds=5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with gateway.connect() as first, gateway.connect() as second:
        first.sendall(slow)
        second.sendall(slow)
        time.sleep(1)

        answer = gateway.post("/third")

        assert "nothing of this one was processed" in problem(answer, 503)
        assert answer.headers["Retry-After"] == "2"
        # What watches the gateway is never turned down.
        assert gateway.get("/health").status_code == 200
        assert gateway.get("/nginx-health").text == "ok\n"
        assert b" 200 " in first.recv(1000)
        assert b" 200 " in second.recv(1000)
    assert gateway.count("/third") == 0


def test_a_client_that_is_too_fast_is_told_to_wait(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(LETTA_STACK_RATE="2")

    answers = [gateway.get("/echo") for _ in range(5)]

    assert answers[0].status_code == 200
    assert "try again" in problem(answers[-1], 429)
    assert answers[-1].headers["Retry-After"] == "1"


def test_a_slow_client_loses_its_place_and_nobody_else_does(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(LETTA_STACK_CLIENT_TIMEOUT="3")
    heads = (
        b"POST /slow HTTP/1.1\r\nHost: a\r\n",
        b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
    )
    clients = [gateway.connect(timeout=15) for _ in range(50)]
    for number, client in enumerate(clients):
        client.sendall(heads[number % 2])

    begin = time.monotonic()
    assert gateway.get("/echo").status_code == 200
    assert time.monotonic() - begin < 2.5
    for client in clients:
        with client:
            try:
                ending = client.recv(100)
            except ConnectionResetError:
                ending = b""
            assert ending == b""
    assert time.monotonic() - begin < 9
