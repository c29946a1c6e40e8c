"""A two-architecture image of a few kilobytes that really starts: the release machinery does not care for size."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from letta_stack.base import process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLATFORMS = ("linux/amd64", "linux/arm64")
EPOCH = 1_700_000_000
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BASE_ADDRESS = 0x400000
HEADERS = 64 + 56
DOCKERFILE = """\
FROM scratch
ARG TARGETARCH
COPY hello-$TARGETARCH /hello
COPY payload /payload
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.version=$VERSION org.opencontainers.image.revision=$REVISION
ENTRYPOINT ["/hello"]
"""


def code(architecture: str, text: bytes) -> bytes:
    """Return machine code that writes the text behind it to standard output and exits with 0."""
    if architecture == "amd64":
        return b"".join(
            (
                b"\xb8\x01\0\0\0",  # mov eax, 1 (write)
                b"\xbf\x01\0\0\0",  # mov edi, 1
                b"\x48\x8d\x35\x10\0\0\0",  # lea rsi, [rip + 16]
                b"\xba" + struct.pack("<I", len(text)),  # mov edx, length
                b"\x0f\x05",  # syscall
                b"\xb8\x3c\0\0\0",  # mov eax, 60 (exit)
                b"\x31\xff",  # xor edi, edi
                b"\x0f\x05",  # syscall
            )
        )
    words = (
        0xD2800020,  # mov x0, 1
        0x100000E1,  # adr x1, 28 bytes on
        0xD2800002 | len(text) << 5,  # mov x2, length
        0xD2800808,  # mov x8, 64 (write)
        0xD4000001,  # svc 0
        0xD2800000,  # mov x0, 0
        0xD2800BA8,  # mov x8, 93 (exit)
        0xD4000001,  # svc 0
    )
    return struct.pack("<8I", *words)


def program(architecture: str) -> bytes:
    """Return a static ELF executable that says which architecture it is for."""
    text = f"hello from {architecture}\n".encode()
    content = code(architecture, text) + text
    size = HEADERS + len(content)
    machine = {"amd64": 62, "arm64": 183}[architecture]
    entry = BASE_ADDRESS + HEADERS
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(b"\x7fELF\x02\x01\x01", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0),
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE_ADDRESS, BASE_ADDRESS, size, size, 0x10000)
    return header + segment + content


def write_context(directory: Path, payload: bytes = b"one\n") -> Path:
    """Write a build context. Another payload makes another image of the same version."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (directory / "payload").write_bytes(payload)
    for architecture in ("amd64", "arm64"):
        path = directory / f"hello-{architecture}"
        path.write_bytes(program(architecture))
        path.chmod(0o755)
    for path in directory.iterdir():
        os.utime(path, (EPOCH, EPOCH))
    return directory


def labels(version: str) -> Mapping[str, str]:
    """Return the labels that a release of this version must carry."""
    return {
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": COMMIT,
    }


def build(
    context: Path,
    output: Path,
    *,
    version: str,
    builder: str = "default",
    platforms: tuple[str, ...] = PLATFORMS,
    no_cache: bool = False,
) -> None:
    """Build into an OCI layout, with the options of the server's image."""
    process.run(
        [
            *("docker", "buildx", "build", f"--builder={builder}", "--provenance=false"),
            *("--progress=quiet", f"--platform={','.join(platforms)}"),
            *(["--no-cache"] if no_cache else []),
            *(f"--build-arg=VERSION={version}", f"--build-arg=REVISION={COMMIT}"),
            f"--output=type=oci,dest={output},force-compression=true",
            str(context),
        ],
        env={"SOURCE_DATE_EPOCH": str(EPOCH)},
    )
