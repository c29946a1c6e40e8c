# ruff: noqa: INP001 - a program of its image, run by path
"""ClickHouse's HTTP interface on the engine of chdb: queries, inserts in any format, users by environment variable.

A test double for a server that no Debian suite has: one query at a time, one user, no replication, no native port.
"""

from __future__ import annotations

import base64
import gzip
import hmac
import os
import re
import signal
import struct
import sys
import tempfile
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import chdb.session
import lz4.block
from clickhouse_cityhash.cityhash import CityHash128

PORT = 8123
LZ4 = 0x82
DATA = "/var/lib/clickhouse"
FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
INSERT = re.compile(
    r"^\s*INSERT\s+INTO\s+(?P<table>[^()]+?)\s*(?P<columns>\([^)]*\))?\s*(?:FORMAT\s+(?P<format>\w+))\s*;?\s*",
    re.IGNORECASE,
)
PARAMETER = re.compile(r"\{(\w+):\s*([^}]+)\}")
IGNORED = {
    "query",
    "database",
    "user",
    "password",
    "default_format",
    "session_id",
    "compress",
    "decompress",
}

USER = os.environ.get("CLICKHOUSE_USER", "default")
PASSWORD_FILE = os.environ.get("CLICKHOUSE_PASSWORD_FILE")
PASSWORD = (
    Path(PASSWORD_FILE).read_text(encoding="utf-8").strip()
    if PASSWORD_FILE
    else os.environ.get("CLICKHOUSE_PASSWORD", "")
)
engine = chdb.session.Session(DATA)
lock = threading.Lock()


def unpacked(blocks: bytes) -> bytes:
    """Take ClickHouse's own compression off: blocks of checksum, method, both sizes and data."""
    result = b""
    while blocks:
        _checksum, method, size, original = struct.unpack_from("<16sBII", blocks)
        data = blocks[25 : 16 + size]
        result += lz4.block.decompress(data, original) if method == LZ4 else data
        blocks = blocks[16 + size :]
    return result


def packed(result: bytes) -> bytes:
    """Put an answer into one such block."""
    if not result:
        return b""
    data = lz4.block.compress(result, store_size=False)
    block = struct.pack("<BII", LZ4, len(data) + 9, len(result)) + data
    checksum = CityHash128(block)
    return struct.pack("<QQ", checksum >> 64, checksum & (2**64 - 1)) + block


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a question in the address."""
        if urlsplit(self.path).path == "/ping":
            self.answer(HTTPStatus.OK, b"Ok.\n")
            return
        self.execute(b"")

    def do_POST(self) -> None:
        """Answer a question in the address or the body; with both, the body is the data of an insert."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        encoding = self.headers.get("Content-Encoding", "")
        if encoding == "gzip":
            body = gzip.decompress(body)
        if "decompress=1" in self.path:
            body = unpacked(body)
        self.execute(body)

    def execute(self, body: bytes) -> None:
        """Run the query of this request."""
        arguments = {
            name: values[-1]
            for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()
        }
        if not self.allowed(arguments):
            self.answer(HTTPStatus.FORBIDDEN, b"Code: 516. DB::Exception: Authentication failed\n")
            return
        query = arguments.get("query", "")
        if not query:
            query, body = body.decode(errors="surrogateescape"), b""
            if match := INSERT.match(query):
                body = query[match.end() :].encode(errors="surrogateescape")
                query = match.group(0)
        try:
            with lock:
                result = self.run(query, body, arguments)
        except Exception as error:  # noqa: BLE001 - the engine's
            print(f"{error}\n  in {query[:300]}", file=sys.stderr, flush=True)
            self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}\n".encode())
            return
        self.answer(
            HTTPStatus.OK, packed(result) if arguments.get("compress") == "1" else result, arguments
        )

    def run(self, query: str, body: bytes, arguments: dict[str, str]) -> bytes:
        """Give the query to the engine in the database that the client asked for."""
        database = (
            arguments.get("database") or self.headers.get("X-ClickHouse-Database") or "default"
        )
        engine.query(f"USE `{database}`")
        insert = INSERT.match(query)
        if insert and body:
            with tempfile.NamedTemporaryFile(dir=DATA) as file:
                file.write(body)
                file.flush()
                source = f"SELECT * FROM file('{file.name}', {insert['format']})"  # noqa: S608 - it is a database
                engine.query(f"INSERT INTO {insert['table']} {insert['columns'] or ''} {source}")
            return b""

        def literal(parameter: re.Match[str]) -> str:
            value = arguments.get(f"param_{parameter[1]}", "")
            quoted = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"CAST('{quoted}' AS {parameter[2]})"

        query = PARAMETER.sub(literal, query)
        wanted = FORMAT.search(query)
        name = wanted[1] if wanted else arguments.get("default_format", "TabSeparated")
        query = FORMAT.sub("", query)
        result = engine.query(query, name)
        return bytes(result.bytes()) if result is not None else b""

    def allowed(self, arguments: dict[str, str]) -> bool:
        """Compare user and password with the configured ones."""
        user = self.headers.get("X-ClickHouse-User") or arguments.get("user", "")
        password = self.headers.get("X-ClickHouse-Key") or arguments.get("password", "")
        scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            user, _, password = base64.b64decode(credentials).decode().partition(":")
        return (user or "default") == USER and hmac.compare_digest(
            password.encode(), PASSWORD.encode()
        )

    def answer(
        self, status: HTTPStatus, body: bytes, arguments: dict[str, str] | None = None
    ) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "X-ClickHouse-Format", (arguments or {}).get("default_format", "TabSeparated")
        )
        self.send_header("X-ClickHouse-Timezone", "UTC")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing about each request."""


if __name__ == "__main__":
    # The first process of a container has no default for it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
