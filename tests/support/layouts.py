"""Makes OCI layouts by hand, small enough to read."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from letta_stack.registry import oci

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

IMAGE_TYPE = oci.IMAGE_TYPES[0]


def layer(files: Mapping[str, bytes], *, mtime: int = 0) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), mtime
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), mtime=0)


@dataclass
class Memory:
    """Content in this process's memory."""

    blobs: dict[str, bytes] = field(default_factory=dict)

    def add(self, body: bytes) -> dict[str, Any]:
        """Keep a blob; return the descriptor."""
        self.blobs[oci.sha256(body)] = body
        return oci.Descriptor("x", oci.sha256(body), len(body)).to_json()

    def image(self, config: object, layers: Sequence[bytes] = ()) -> oci.Image:
        """Make an image that is no index."""
        listed = [self.add(body) for body in layers]
        document = {"config": self.add(json.dumps(config).encode()), "layers": listed}
        return oci.Image(oci.Manifest(json.dumps(document).encode(), IMAGE_TYPE), self)

    def manifest(self, digest: str) -> oci.Manifest:
        """Have no index, so nothing to be asked for."""
        raise AssertionError(digest)

    def read(self, blob: oci.Descriptor) -> bytes:
        """Return a blob."""
        return self.blobs[blob.digest]

    def open_blob(self, blob: oci.Descriptor) -> IO[bytes]:
        """Open a blob."""
        return io.BytesIO(self.blobs[blob.digest])


def write_layout(
    path: Path, layers: Mapping[str, list[bytes]], *, labels: Mapping[str, str] | None = None
) -> Path:
    """Write a layout with an image per platform."""
    blobs: dict[str, bytes] = {}

    def add(content: bytes) -> dict[str, Any]:
        blobs[oci.sha256(content)] = content
        return {"digest": oci.sha256(content), "size": len(content)}

    entries = []
    for platform, contents in layers.items():
        system, architecture = platform.split("/")
        config = {
            "os": system,
            "architecture": architecture,
            "config": {"Labels": dict(labels or {})},
            "history": [{"created_by": f"COPY {number}"} for number in range(len(contents))],
        }
        image = {
            "config": add(json.dumps(config).encode()),
            "layers": [add(content) for content in contents],
        }
        entry = {"mediaType": IMAGE_TYPE, **add(json.dumps(image).encode())}
        entries.append({**entry, "platform": {"os": system, "architecture": architecture}})
    index = add(json.dumps({"mediaType": oci.INDEX_TYPE, "manifests": entries}).encode())
    top = {"manifests": [{"mediaType": oci.INDEX_TYPE, **index}]}
    with tarfile.open(path, "w") as archive:
        named = {"index.json": json.dumps(top).encode()}
        named |= {f"blobs/{digest.replace(':', '/')}": body for digest, body in blobs.items()}
        for name, content in named.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
