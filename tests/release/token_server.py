"""A token server for the distribution project's token login: real tokens, signed by a real key."""

from __future__ import annotations

import base64
import http.server
import json
import re
import secrets
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

LIFETIME_SECONDS = 300


class TokenServer:
    """Gives a token to whoever knows the password. ``refuse_next`` makes one answer a 429."""

    service = "test-registry"
    issuer = "test-issuer"

    def __init__(self, user: str, password: str, *, key: Path, chain: Path) -> None:
        self._expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._key = key
        text = chain.read_text(encoding="utf-8")
        self._certificate = "".join(re.findall(r"^[A-Za-z0-9+/=]+$", text, re.MULTILINE))
        self.scopes: set[str] = set()
        self.refuse_next = False
        self._server = _Server(self)
        self.realm = f"http://127.0.0.1:{self._server.server_address[1]}/token"
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

    def answer(self, handler: _Handler) -> tuple[int, dict[str, str], object]:
        """Return status, headers and body."""
        if self.refuse_next:
            self.refuse_next = False
            return 429, {"Retry-After": "0"}, {}
        if handler.headers.get("Authorization") != self._expected:
            return 401, {}, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}
        query = parse_qs(urlsplit(handler.path).query)
        scope = query["scope"][0]
        self.scopes.add(scope)
        return 200, {}, {"token": self._token(query["service"][0], scope)}

    def _token(self, service: str, scope: str) -> str:
        kind, name, actions = scope.split(":")
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self._certificate]}
        claims = {
            "iss": self.issuer,
            "sub": "test",
            "aud": service,
            "iat": now,
            "nbf": now - 10,
            "exp": now + LIFETIME_SECONDS,
            "jti": secrets.token_hex(8),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        signed = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self._key],
            input=signed.encode(),
            capture_output=True,
            check=True,
        ).stdout
        return f"{signed}.{_encode(signature)}"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tokens: TokenServer) -> None:
        self.tokens = tokens
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        status, headers, document = self.server.tokens.answer(self)
        body = json.dumps(document).encode()
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
