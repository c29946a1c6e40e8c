"""Whether ClickHouse can be used: against a small server of its HTTP interface."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from entrypoint import clickhouse, collector
from entrypoint.errors import BadVolume

from letta_stack.base.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLES = (ROOT / "otel/clickhouse.sql").read_text(encoding="utf-8")


class Handler(BaseHTTPRequestHandler):
    """Takes one password, and remembers."""

    asked: list[tuple[str, str]]

    def do_POST(self) -> None:
        statement = self.rfile.read(int(self.headers["Content-Length"])).decode()
        allowed = self.headers["X-ClickHouse-Key"] == "right"
        self.asked.append((self.path, statement))
        body = b"" if allowed else b"Code: 516. Authentication failed\nversion 1\n"
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    Handler.asked = []
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def variables(endpoint: str, password: str = "right") -> dict[str, str]:
    return {
        "CLICKHOUSE_ENDPOINT": endpoint,
        "CLICKHOUSE_DATABASE": "otel",
        "CLICKHOUSE_USERNAME": "default",
        "CLICKHOUSE_PASSWORD": password,
    }


def test_database_and_tables_are_made(endpoint: str) -> None:
    assert clickhouse.prepare(variables(endpoint), TABLES) is None
    (first, *rest) = Handler.asked
    assert first == ("/?database=default", "CREATE DATABASE IF NOT EXISTS `otel`")
    assert [path for path, _ in rest] == ["/?database=otel"]
    assert "CREATE TABLE IF NOT EXISTS llm_traces" in rest[0][1]


def test_a_refused_password_is_a_reason_without_the_password(endpoint: str) -> None:
    reason = clickhouse.prepare(variables(endpoint, "wr0ng"), TABLES)

    assert reason == f"{endpoint} answers 403: Code: 516. Authentication failed"


def test_silence_is_a_reason() -> None:
    reason = clickhouse.prepare(variables("http://127.0.0.1:1"), TABLES)

    assert reason is not None
    assert reason.startswith("http://127.0.0.1:1 does not answer: ")


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("a file")
    place = collector.Place(tmp_path, tmp_path, tmp_path)

    with pytest.raises(BadVolume, match="mount a volume at"):
        collector.run({}, place)
