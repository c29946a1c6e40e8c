"""The Dockerfile's `release` collector, downloaded from a file server in the layout of the real release."""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.image import third_party
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from letta_stack.base.process import Completed

VERSION = Pins.load()["OTELCOL_VERSION"]
CHECKSUMS = "opentelemetry-collector-releases_otelcol-contrib_checksums.txt"
ARCHITECTURES = ("amd64", "arm64")


def asset(architecture: str) -> str:
    return f"otelcol-contrib_{VERSION}_linux_{architecture}.tar.gz"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Server:
    """A release whose "program" names its architecture, and a build that takes it from there."""

    def __init__(self, directory: Path, url: str, base: str) -> None:
        self.url = url
        self.base = base
        self.files = directory / f"v{VERSION}"
        self.files.mkdir()
        self.sha256 = {architecture: self._pack(architecture) for architecture in ARCHITECTURES}
        lines = [f"{self.sha256[one]}  {asset(one)}\n" for one in ARCHITECTURES]
        (self.files / CHECKSUMS).write_text("".join(lines))

    def _pack(self, architecture: str) -> str:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            program = f"collector for {architecture}\n".encode()
            member = tarfile.TarInfo("otelcol-contrib")
            member.size = len(program)
            tar.addfile(member, io.BytesIO(program))
        (self.files / asset(architecture)).write_bytes(buffer.getvalue())
        return hashlib.sha256(buffer.getvalue()).hexdigest()

    def build(self, architecture: str, out: Path, *, pin: str = "") -> Completed:
        """Build only the collector's stage; its files go to a directory."""
        return process.probe(
            [
                *("docker", "buildx", "build", "--target=otelcol-release", "--progress=plain"),
                "--no-cache-filter=otelcol-release",
                f"--platform=linux/{architecture}",
                f"--build-arg=DEBIAN_IMAGE={self.base}",
                f"--build-arg=OTELCOL_BASE_URL={self.url}",
                f"--build-arg=OTELCOL_SHA256_{architecture.upper()}={pin}",
                f"--output=type=tar,dest={out}",
                str(ROOT),
            ]
        )


@pytest.fixture(scope="session")
def base(ca: Path | None) -> str:
    return third_party.ensure(["DEBIAN_IMAGE"], source="auto", ca=ca)["DEBIAN_IMAGE"]


@pytest.fixture
def server(tmp_path: Path, base: str) -> Iterator[Server]:
    bridge = [
        "docker",
        "network",
        "inspect",
        "--format={{(index .IPAM.Config 0).Gateway}}",
        "bridge",
    ]
    address = process.capture(bridge).strip()
    directory = tmp_path / "served"
    directory.mkdir()
    handler = functools.partial(QuietHandler, directory=str(directory))
    with ThreadingHTTPServer((address, 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield Server(directory, f"http://{address}:{http.server_port}", base)
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_architecture_gets_its_own_program(
    server: Server, tmp_path: Path, architecture: str
) -> None:
    out = tmp_path / "stage.tar"

    built = server.build(architecture, out, pin=server.sha256[architecture])

    assert built.ok, built.stderr
    assert "verified by the pinned SHA-256" in built.stderr
    with tarfile.open(out) as tar:
        program = tar.extractfile("rootfs/usr/local/bin/otelcol-contrib")
        assert program is not None
        assert program.read() == f"collector for {architecture}\n".encode()


def test_without_a_pin_the_release_vouches_for_itself_and_the_build_says_so(
    server: Server, tmp_path: Path
) -> None:
    built = server.build("amd64", tmp_path / "stage.tar")

    assert built.ok, built.stderr
    assert "because pins.env has no SHA-256 for it" in built.stderr


def test_a_truncated_download_is_refused(server: Server, tmp_path: Path) -> None:
    path = server.files / asset("amd64")
    path.write_bytes(path.read_bytes()[:-20])

    refused(server.build("amd64", tmp_path / "stage.tar"), tmp_path, "expected")


def test_a_download_with_another_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    built = server.build("arm64", tmp_path / "stage.tar", pin="0" * 64)

    refused(built, tmp_path, f"has SHA-256 {server.sha256['arm64']}, expected 0000")


def test_a_release_that_is_not_there_is_refused(server: Server, tmp_path: Path) -> None:
    (server.files / asset("amd64")).unlink()

    refused(server.build("amd64", tmp_path / "stage.tar"), tmp_path, "404")


def test_an_unknown_architecture_is_refused(server: Server, tmp_path: Path) -> None:
    built = server.build("s390x", tmp_path / "stage.tar")

    refused(built, tmp_path, "no collector for architecture 's390x'")


def refused(built: Completed, tmp_path: Path, says: str) -> None:
    assert not built.ok
    assert says in built.stderr
    assert "Traceback" not in built.stderr
    # buildx opens the file before it builds.
    assert (tmp_path / "stage.tar").stat().st_size == 0
