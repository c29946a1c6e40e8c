from __future__ import annotations

import http.server
import socket
import statistics
import threading
import time

import pytest

from letta_stack.base import http_wait
from letta_stack.base.wait import wait_until
from letta_stack.errors import BadValue, WaitTimedOut


class Clock:
    """A clock that moves only when somebody sleeps, or when the tested code takes its time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_the_first_true_value_is_returned_without_sleeping() -> None:
    clock = Clock()

    assert (
        wait_until(lambda: "here", timeout=1, describe="", clock=clock, sleep=clock.sleep) == "here"
    )
    assert clock.slept == []


def test_attempts_keep_their_schedule_however_long_each_one_takes() -> None:
    clock = Clock()
    starts: list[float] = []

    def slow() -> bool:
        starts.append(round(clock.now - 1000, 3))
        clock.now += 0.03
        return len(starts) == 4

    wait_until(slow, timeout=5, interval=0.1, describe="", clock=clock, sleep=clock.sleep)

    assert starts == [0.0, 0.1, 0.2, 0.3]


def test_an_attempt_longer_than_the_interval_skips_the_missed_ones() -> None:
    clock = Clock()
    starts: list[float] = []

    def slow() -> bool:
        starts.append(round(clock.now - 1000, 3))
        clock.now += 0.25
        return len(starts) == 3

    wait_until(slow, timeout=5, interval=0.1, describe="", clock=clock, sleep=clock.sleep)

    assert starts == [0.0, 0.3, 0.6]


def test_the_end_says_what_was_waited_for_and_comes_on_time() -> None:
    clock = Clock()
    with pytest.raises(WaitTimedOut, match="gave up after 1 s: still red"):
        wait_until(
            lambda: False,
            timeout=1,
            interval=0.3,
            describe=lambda: "still red",
            clock=clock,
            sleep=clock.sleep,
        )

    assert clock.now == pytest.approx(1001)


class Handler(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def serve(port: int, status: int = 200) -> http.server.HTTPServer:
    handler = type("Fixed", (Handler,), {"status": status})
    server = http.server.HTTPServer(("127.0.0.1", port), handler)
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    ).start()
    return server


def lateness(delay: float) -> float:
    """Open a port after ``delay`` seconds; return how long after that it was noticed."""
    port = free_port()
    opened: list[float] = []
    servers: list[http.server.HTTPServer] = []

    def open_later() -> None:
        time.sleep(delay)
        servers.append(serve(port))
        opened.append(time.monotonic())

    thread = threading.Thread(target=open_later)
    thread.start()
    http_wait.wait_for_status(f"http://127.0.0.1:{port}/", timeout=10)
    noticed = time.monotonic()
    thread.join()
    servers[0].shutdown()
    servers[0].server_close()
    return noticed - opened[0]


def test_readiness_is_noticed_within_50_ms_on_average() -> None:
    late = [lateness(0.15 + 0.013 * number) for number in range(8)]

    assert statistics.mean(late) < 0.05


def test_another_status_is_not_ready_and_is_reported() -> None:
    port = free_port()
    server = serve(port, status=503)
    try:
        with pytest.raises(WaitTimedOut, match="status 200, last seen: status 503"):
            http_wait.wait_for_status(f"http://127.0.0.1:{port}/", timeout=0.3)
        http_wait.wait_for_status(f"http://127.0.0.1:{port}/", status=503, timeout=5)
    finally:
        server.shutdown()
        server.server_close()


def test_a_port_where_nobody_listens_is_reported_as_refused() -> None:
    with pytest.raises(WaitTimedOut, match="last seen: connection refused"):
        http_wait.wait_for_status(f"http://127.0.0.1:{free_port()}/", timeout=0.2)


def test_a_listener_that_never_answers_does_not_hold_the_wait_beyond_its_time() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        started = time.monotonic()
        with pytest.raises(WaitTimedOut, match="last seen: TimeoutError"):
            http_wait.wait_for_status(f"http://127.0.0.1:{mute.getsockname()[1]}/", timeout=0.4)

        assert time.monotonic() - started < 2


@pytest.mark.parametrize("url", ["localhost:8283", "ftp://localhost/", "http://", "http://a:b/"])
def test_what_is_not_an_http_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(BadValue, match="give one like"):
        http_wait.wait_for_status(url)
