"""A proxy in front of a registry that breaks chosen requests, in the ways in which networks and registries break."""

from __future__ import annotations

import contextlib
import enum
import http.client
import http.server
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT_DELAY = 0.05
HOLD_LIMIT = 20.0


class Fault(enum.Enum):
    """What happens to a request. The value is what the report prints."""

    DROP_REQUEST = "connection dropped before the registry sees the request"
    DROP_ANSWER = "registry acts, connection dropped before its answer"
    TRUNCATE_REQUEST = "half of the request's body reaches the registry, then the connection drops"
    TRUNCATE_ANSWER = "half of the answer arrives, then the connection drops"
    DELAY = "answer delayed"
    HANG = "registry acts, no answer until the client gives up"
    TOO_MANY = "429 Too Many Requests with Retry-After"
    SERVER_ERROR = "500 Internal Server Error"
    UNAVAILABLE = "503 Service Unavailable"
    DEAD = "registry gone for good from here on"
    HOLD = "answer held back until the client is interrupted"


@dataclass(frozen=True)
class Seen:
    """A request, and how many bytes of content went each way."""

    method: str
    path: str
    sent: int

    @property
    def kind(self) -> str:
        """The request without what differs from repository to repository."""
        path = re.sub(r"^/v2/.*/(manifests|blobs|tags)/", r"\1/", self.path.partition("?")[0])
        path = re.sub(r"uploads/.+", "uploads/ID", path)
        path = re.sub(r"sha256:[0-9a-f]+", "DIGEST", path)
        return f"{self.method} {path}"


@dataclass
class FaultProxy:
    """Listens on a loopback port. Requests are numbered from 0; ``fault_at`` names one and what befalls it."""

    upstream: str
    seen: list[Seen] = field(default_factory=list)
    fault_at: tuple[int, Fault] | None = None
    retry_after: str = "0"
    held: threading.Event = field(default_factory=threading.Event)
    resume: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.resume.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reset(self, fault_at: tuple[int, Fault] | None = None) -> None:
        """Forget what was seen; break something else."""
        self.seen = []
        self.fault_at = fault_at
        self.held.clear()
        self.resume.clear()

    @property
    def uploaded_bytes(self) -> int:
        """Bytes of blobs that clients sent."""
        return sum(seen.sent for seen in self.seen if "blobs/" in seen.kind)

    def handle(self, handler: _Handler) -> None:
        """Forward one request, or break it."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._lock:
            number = len(self.seen)
            self.seen.append(Seen(handler.command, handler.path, len(body)))
        fault = None
        if self.fault_at is not None:
            first, kind = self.fault_at
            if number == first or (kind is Fault.DEAD and number > first):
                fault = kind
        _ACTIONS[fault](self, handler, body)

    def forward(self, handler: _Handler, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request to the registry. The Host header stays: the registry makes its URLs from it."""
        upstream = handler.upstream
        upstream.request(handler.command, handler.path, body, dict(handler.headers.items()))
        answer = upstream.getresponse()
        return answer, answer.read()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is part of the test."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two packets; waiting for the first one's acknowledgement would cost 40 ms per request.
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=30)

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def dispatch(self) -> None:
        self.server.proxy.handle(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = dispatch  # noqa: N815  # the names that http.server calls

    def log_message(self, *_: object) -> None:
        """The report is made from ``seen``."""

    def answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: int | None = None
    ) -> None:
        """Send an answer, all of it or the first ``cut`` bytes of its body."""
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length")
        self.send_header(
            "Content-Length", length if self.command == "HEAD" and length else str(len(body))
        )
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.drop()

    def drop(self) -> None:
        """Close the connection as a failing network does."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _pass(proxy: FaultProxy, handler: _Handler, body: bytes) -> None:
    answer, content = proxy.forward(handler, body)
    handler.answer(answer.status, answer.getheaders(), content)


def _drop_request(_: FaultProxy, handler: _Handler, __: bytes) -> None:
    handler.drop()


def _drop_answer(proxy: FaultProxy, handler: _Handler, body: bytes) -> None:
    proxy.forward(handler, body)
    handler.drop()


def _truncate_request(proxy: FaultProxy, handler: _Handler, body: bytes) -> None:
    host, _, port = proxy.upstream.partition(":")
    head = f"{handler.command} {handler.path} HTTP/1.1\n{handler.headers}".replace("\n", "\r\n")
    with socket.create_connection((host, int(port))) as upstream:
        upstream.sendall(head.encode() + body[: len(body) // 2])
    handler.drop()


def _truncate_answer(proxy: FaultProxy, handler: _Handler, body: bytes) -> None:
    answer, content = proxy.forward(handler, body)
    if content:
        handler.answer(answer.status, answer.getheaders(), content, cut=len(content) // 2)
        return
    handler.wfile.write(b"HTTP/1.1 20")
    handler.drop()


def _delay(proxy: FaultProxy, handler: _Handler, body: bytes) -> None:
    time.sleep(SHORT_DELAY)
    _pass(proxy, handler, body)


def _hang(proxy: FaultProxy, handler: _Handler, body: bytes) -> None:
    proxy.forward(handler, body)
    proxy.resume.wait(HOLD_LIMIT)
    handler.drop()


def _hold(proxy: FaultProxy, handler: _Handler, body: bytes) -> None:
    proxy.forward(handler, body)
    proxy.held.set()
    proxy.resume.wait(HOLD_LIMIT)
    handler.drop()


def _status(status: int) -> Callable[[FaultProxy, _Handler, bytes], None]:
    def answer(proxy: FaultProxy, handler: _Handler, _: bytes) -> None:
        headers = (
            [("Retry-After", proxy.retry_after)]
            if status == http.HTTPStatus.TOO_MANY_REQUESTS
            else []
        )
        handler.answer(
            status, headers, b"" if handler.command == "HEAD" else b"broken on purpose\n"
        )

    return answer


_ACTIONS: dict[Fault | None, Callable[[FaultProxy, _Handler, bytes], None]] = {
    None: _pass,
    Fault.DROP_REQUEST: _drop_request,
    Fault.DROP_ANSWER: _drop_answer,
    Fault.TRUNCATE_REQUEST: _truncate_request,
    Fault.TRUNCATE_ANSWER: _truncate_answer,
    Fault.DELAY: _delay,
    Fault.HANG: _hang,
    Fault.TOO_MANY: _status(429),
    Fault.SERVER_ERROR: _status(500),
    Fault.UNAVAILABLE: _status(503),
    Fault.DEAD: _drop_request,
    Fault.HOLD: _hold,
}
