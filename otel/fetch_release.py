# ruff: noqa: INP001 - a script that the Dockerfile runs by path
"""Download the collector of an OpenTelemetry release, verify it, and leave the program. Standard library only.

Runs in the image's build (Dockerfile, stage otelcol-release). Nothing is left behind unless the checksum matches: the
pinned one, or, while there is no pin, the one in the release's own checksum file.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

PROGRAM = "otelcol-contrib"
CHECKSUMS = "opentelemetry-collector-releases_otelcol-contrib_checksums.txt"
SYSTEMS = ("linux", "darwin")
ARCHITECTURES = ("amd64", "arm64")
TIMEOUT_SECONDS = 60


class FetchError(Exception):
    """What went wrong, in one line that ends with what to do."""


def asset_name(version: str, architecture: str, system: str = "linux") -> str:
    """Name the tarball of a platform, as the release does."""
    if system not in SYSTEMS:
        message = f"no collector for {system!r}; there is one for {' and '.join(SYSTEMS)}"
        raise FetchError(message)
    if architecture not in ARCHITECTURES:
        supported = " and ".join(ARCHITECTURES)
        message = f"no collector for architecture {architecture!r}; the image supports {supported}"
        raise FetchError(message)
    return f"otelcol-contrib_{version}_{system}_{architecture}.tar.gz"


def published_checksum(checksums: str, asset: str) -> str:
    """Find the SHA-256 of an asset in the text of a release's checksum file."""
    for line in checksums.splitlines():
        digest, _, name = line.partition("  ")
        if name.strip() == asset:
            return digest
    message = f"{CHECKSUMS} of the release has no line for {asset}; pin its SHA-256 in pins.env"
    raise FetchError(message)


def download(url: str, target: Path) -> str:
    """Write what is at ``url`` to ``target`` and return its SHA-256."""
    digest = hashlib.sha256()
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response,  # noqa: S310 - the operator's URL
            target.open("wb") as file,
        ):
            while chunk := response.read(1 << 20):
                digest.update(chunk)
                file.write(chunk)
    except (OSError, urllib.error.URLError) as error:
        message = f"cannot download {url} ({error}); check the network, or use --otelcol build"
        raise FetchError(message) from error
    return digest.hexdigest()


def fetch(base_url: str, version: str, asset: str, pin: str, out: Path) -> str:
    """Put the verified program at ``out``; return the one line that says how it was verified."""
    release = f"{base_url.rstrip('/')}/v{version}"
    with tempfile.TemporaryDirectory() as directory:
        archive, checksums = Path(directory, asset), Path(directory, CHECKSUMS)
        actual = download(f"{release}/{asset}", archive)
        how, expected = "the pinned SHA-256", pin
        if not pin:
            download(f"{release}/{CHECKSUMS}", checksums)
            expected = published_checksum(checksums.read_text(encoding="utf-8"), asset)
            how = "the release's own checksum file, because pins.env has no SHA-256 for it"
        if actual != expected:
            message = f"{asset} has SHA-256 {actual}, expected {expected} by {how}; do not use this download"
            raise FetchError(message)
        with tarfile.open(archive) as tar, tempfile.NamedTemporaryFile(dir=out.parent) as file:
            members = (member for member in tar if member.name == PROGRAM and member.isfile())
            program = next(map(tar.extractfile, members), None)
            if program is None:
                message = f"{asset} has no program {PROGRAM}; the release's layout has changed"
                raise FetchError(message)
            shutil.copyfileobj(program, file)
            file.flush()
            Path(file.name).chmod(0o755)
            out.hardlink_to(file.name)
    return f"{asset} verified by {how}: {actual}"


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--base-url", required=True, help="where the releases are: <url>/v<version>/<asset>"
    )
    parser.add_argument("--version", required=True)
    parser.add_argument("--system", default="linux")
    parser.add_argument("--architecture", required=True)
    parser.add_argument(
        "--sha256", required=True, help="pinned checksum of the tarball, may be empty"
    )
    parser.add_argument("--out", required=True, type=Path, help="where the program goes")
    options = parser.parse_args()
    try:
        print(
            fetch(
                options.base_url,
                options.version,
                asset_name(options.version, options.architecture, options.system),
                options.sha256,
                options.out,
            )
        )
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
