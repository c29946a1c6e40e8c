"""The collector's download script against a local file server. tests/build runs it inside the image's build."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASSET = "otelcol-contrib_1.2.3_linux_amd64.tar.gz"
PROGRAM = b"#!/bin/sh\necho collector\n"


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("fetch_release", ROOT / "otel/fetch_release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = load_script()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Release:
    """A directory in the layout of a release, behind a URL."""

    def __init__(self, directory: Path, url: str) -> None:
        self.url = url
        self.files = directory / "v1.2.3"
        self.files.mkdir()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, content in {"README.md": b"hello\n", "otelcol-contrib": PROGRAM}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        self.asset = self.files / ASSET
        self.asset.write_bytes(buffer.getvalue())
        self.sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        self.checksums = self.files / script.CHECKSUMS
        self.checksums.write_text(f"{'0' * 64}  other.tar.gz\n{self.sha256}  {ASSET}\n")


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    directory = tmp_path / "served"
    directory.mkdir()
    handler = functools.partial(QuietHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Release(directory, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
        thread.join()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "otelcol-contrib"


def fetch(release: Release, out: Path, *, pin: str = "", architecture: str = "amd64") -> str:
    said = script.fetch(release.url, "1.2.3", script.asset_name("1.2.3", architecture), pin, out)
    assert isinstance(said, str)
    return said


def test_the_pinned_checksum_is_enough(release: Release, out: Path) -> None:
    release.checksums.unlink()

    said = fetch(release, out, pin=release.sha256)

    assert said == f"{ASSET} verified by the pinned SHA-256: {release.sha256}"
    assert out.read_bytes() == PROGRAM
    assert out.stat().st_mode & 0o777 == 0o755
    assert list(out.parent.iterdir()) == [out]


def test_without_a_pin_the_release_vouches_for_itself_and_the_line_says_so(
    release: Release, out: Path
) -> None:
    assert "because pins.env has no SHA-256" in fetch(release, out)
    assert out.read_bytes() == PROGRAM


def truncate(release: Release) -> None:
    release.asset.write_bytes(release.asset.read_bytes()[:-20])


def lose_asset(release: Release) -> None:
    release.asset.unlink()


def lose_checksums(release: Release) -> None:
    release.checksums.unlink()


def lose_line(release: Release) -> None:
    release.checksums.write_text("")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "expected"),
        (lose_asset, "404"),
        (lose_checksums, "404"),
        (lose_line, "has no line for"),
    ],
)
def test_a_damaged_release_leaves_nothing_behind(
    release: Release, out: Path, damage: Any, says: str
) -> None:
    damage(release)

    with pytest.raises(script.FetchError, match=says):
        fetch(release, out)

    assert list(out.parent.iterdir()) == []


def test_another_pin_than_the_download_is_refused(release: Release, out: Path) -> None:
    with pytest.raises(script.FetchError, match=f"has SHA-256 {release.sha256}, expected 00"):
        fetch(release, out, pin="0" * 64)

    assert list(out.parent.iterdir()) == []


def test_a_tarball_without_the_program_is_one_line(release: Release, out: Path) -> None:
    with tarfile.open(release.asset, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("README.md"))
    pin = hashlib.sha256(release.asset.read_bytes()).hexdigest()

    with pytest.raises(script.FetchError, match="has no program otelcol-contrib"):
        fetch(release, out, pin=pin)


def test_an_unknown_architecture_is_an_error_before_any_download(out: Path) -> None:
    with pytest.raises(script.FetchError, match="no collector for architecture 's390x'"):
        script.asset_name("1.2.3", "s390x")


def test_the_command_line_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: Path
) -> None:
    argv = ["--base-url=http://127.0.0.1:1", "--version=1", "--architecture=amd64", "--sha256="]
    monkeypatch.setattr(sys, "argv", ["fetch_release.py", *argv, f"--out={out}"])

    assert script.main() == 1

    assert capsys.readouterr().err.startswith("error: cannot download http://127.0.0.1:1/v1/")
