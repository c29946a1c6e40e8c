"""The collector on the host, with a small program in the place of the real one."""

from __future__ import annotations

import re
import socket
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import (
    BadValue,
    CollectorBroken,
    CollectorFailed,
    CollectorMissing,
    CollectorNotRunning,
    PortBusy,
    UnsupportedPlatform,
)
from letta_stack.pins.file import Pins
from letta_stack.telemetry import daemon, install, rule
from letta_stack.telemetry.layout import HostPlatform, Layout, detect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = Pins.load()["OTELCOL_VERSION"]
PROGRAM = """#!{python}
import http.server, pathlib, signal, sys
if "--version" in sys.argv:
    print("otelcol-contrib version {version}")
    sys.exit(0)
if {broken}:
    sys.exit(7)
pathlib.Path({arguments!r}).write_text("\\n".join(sys.argv[1:]))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""


@pytest.fixture
def layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_processes: None
) -> Iterator[Layout]:
    assert real_processes is None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(daemon, "PORTS", (port,))
    monkeypatch.setattr(daemon, "HEALTH", f"http://127.0.0.1:{port}/")
    for name in ("CLICKHOUSE_ENDPOINT", "CLICKHOUSE_PASSWORD", "SIGNOZ_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    one = Layout(tmp_path)
    installed(one, port=port)
    yield one
    daemon.stop(one)


def installed(
    layout: Layout, *, port: int = 0, version: str = VERSION, broken: bool = False
) -> None:
    layout.program.write_text(
        PROGRAM.format(
            python=sys.executable,
            version=version,
            broken=broken,
            port=port,
            arguments=str(layout.directory / "arguments"),
        )
    )
    layout.program.chmod(stat.S_IRWXU)
    layout.checksum.write_text(install.sha256(layout.program))


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("Linux", "x86_64", HostPlatform("linux", "amd64")),
        ("Linux", "aarch64", HostPlatform("linux", "arm64")),
        ("Darwin", "arm64", HostPlatform("darwin", "arm64")),
        ("Darwin", "x86_64", HostPlatform("darwin", "amd64")),
    ],
)
def test_a_platform_is_named_as_releases_name_it(
    system: str, machine: str, expected: HostPlatform
) -> None:
    assert detect(system, machine) == expected


@pytest.mark.parametrize(("system", "machine"), [("Windows", "AMD64"), ("Linux", "s390x")])
def test_an_unknown_platform_is_an_error_and_never_a_default(system: str, machine: str) -> None:
    with pytest.raises(UnsupportedPlatform, match=f"{system} on {machine}.*docker run"):
        detect(system, machine)


def test_what_is_installed_is_compared_with_checksum_and_pin(layout: Layout) -> None:
    assert install.verify(layout) == VERSION

    installed(layout, version="0.1.2")
    with pytest.raises(CollectorBroken, match=rf"is version 0\.1\.2, pinned is {VERSION}"):
        install.verify(layout)
    layout.program.write_text("something else")
    with pytest.raises(CollectorBroken, match="is not what was installed"):
        install.verify(layout)
    layout.program.unlink()
    with pytest.raises(CollectorMissing, match=r"inv otelcol\.install"):
        install.verify(layout)


def test_it_starts_once_says_how_it_is_and_stops(
    layout: Layout, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CollectorNotRunning, match=r"inv otelcol\.start"):
        daemon.status(layout)

    daemon.start(layout)
    pid = daemon.running(layout)
    daemon.start(layout)
    lines = daemon.status(layout)
    arguments = (layout.directory / "arguments").read_text()
    daemon.stop(layout)

    assert pid
    assert lines[0] == f"collector {VERSION}, process {pid}, healthy"
    assert lines[1] == "configuration base + file"
    assert re.findall(r"--config=.*/otel/(\w+)\.yaml", arguments) == ["base", "file"]
    assert "runs already" in capfd.readouterr().err
    assert daemon.running(layout) == 0
    assert not layout.pid.exists()


def test_one_that_does_not_become_healthy_is_an_error_and_leaves_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "START_SECONDS", 0.5)
    installed(layout, broken=True)

    with pytest.raises(CollectorFailed, match=re.escape(str(layout.log))):
        daemon.start(layout)
    assert daemon.running(layout) == 0


def test_a_port_that_is_taken_is_named(layout: Layout) -> None:
    with socket.create_server(("127.0.0.1", daemon.PORTS[0])), pytest.raises(PortBusy):
        daemon.start(layout)


def test_a_number_that_another_process_has_does_not_count(layout: Layout) -> None:
    layout.pid.write_text("1\n")

    assert daemon.running(layout) == 0


def test_a_setting_that_the_image_refuses_is_refused_here(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_ENDPOINT", "http://c:8123")

    with pytest.raises(BadValue, match="CLICKHOUSE_PASSWORD is not"):
        daemon.start(layout)


def test_only_the_collectors_settings_are_handed_on() -> None:
    found = rule.settings(
        {"OPENAI_API_KEY": "s", "SIGNOZ_ENDPOINT": "s:4317", "SIGNOZ_INSECURE": "1"}
    )

    assert "OPENAI_API_KEY" not in found
    assert rule.files(found) == ["base", "signoz", "kept"]
