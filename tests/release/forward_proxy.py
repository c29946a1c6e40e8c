"""A proxy as companies have it: it opens tunnels to TLS servers, and it resolves their names."""

from __future__ import annotations

import http.server
import select
import socket
import threading
from typing import Self

BLOCK = 1 << 16


class ForwardProxy:
    """Listens on a loopback port. Every tunnel ends at ``upstream``; ``tunnels`` are the names that were asked for."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.tunnels: list[str] = []
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: ForwardProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_CONNECT(self) -> None:
        proxy = self.server.proxy
        proxy.tunnels.append(self.path)
        host, _, port = proxy.upstream.partition(":")
        with socket.create_connection((host, int(port))) as upstream:
            self.send_response_only(200)
            self.end_headers()
            self._carry(upstream)

    def _carry(self, upstream: socket.socket) -> None:
        """Copy both ways until one side is done."""
        ends = {self.connection: upstream, upstream: self.connection}
        while True:
            for source in select.select(list(ends), [], [])[0]:
                content = source.recv(BLOCK)
                if not content:
                    return
                ends[source].sendall(content)

    def log_message(self, *_: object) -> None:
        """The test looks at ``tunnels``."""
