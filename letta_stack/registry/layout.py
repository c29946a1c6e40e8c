"""The OCI image layout that a builder writes into a file.

``docker buildx build --output type=oci,dest=FILE`` works with every builder and every version of buildx, which
is why a release is built into such a file and pushed from it.
"""

from __future__ import annotations

import contextlib
import json
import tarfile
from typing import IO, TYPE_CHECKING, Self

from letta_stack.errors import ContentBroken
from letta_stack.registry import oci

if TYPE_CHECKING:
    from pathlib import Path


class Layout:
    """An OCI image layout in an uncompressed tar file."""

    def __init__(self, path: Path) -> None:
        """Open the file; ``ContentBroken`` if it is no layout."""
        self.path = path
        with contextlib.ExitStack() as stack:
            try:
                self._archive = stack.enter_context(tarfile.open(path, mode="r:"))
                self._members = {member.name: member for member in self._archive}
                (entry,) = json.loads(self._read("index.json"))["manifests"]
                root = oci.Descriptor.from_json(entry)
            except (OSError, tarfile.TarError, KeyError, ValueError) as error:
                message = f"{path} is not an OCI layout with one image ({error}); build it again"
                raise ContentBroken(message) from None
            self.image = oci.Image(self._manifest(root), self)
            # From here on the file is closed by __exit__.
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def manifest(self, digest: str) -> oci.Manifest:
        """Return a manifest by its digest."""
        listed = {item.digest: item for item in self.image.root.manifests}
        return self._manifest(listed[digest]) if digest in listed else self.image.root

    def read(self, blob: oci.Descriptor) -> bytes:
        """Return a small blob, checked against its digest."""
        body = self._read(_path(blob.digest))
        if oci.sha256(body) != blob.digest:
            message = f"{blob.digest} in {self.path} does not match its content; build it again"
            raise ContentBroken(message)
        return body

    def open_blob(self, blob: oci.Descriptor) -> IO[bytes]:
        """Open a blob for reading from its start."""
        return self._open(_path(blob.digest))

    def _manifest(self, entry: oci.Descriptor) -> oci.Manifest:
        manifest = oci.Manifest(self._read(_path(entry.digest)), entry.media_type)
        if manifest.digest != entry.digest:
            message = f"{entry.digest} in {self.path} does not match its content; build it again"
            raise ContentBroken(message)
        return manifest

    def _open(self, name: str) -> IO[bytes]:
        member = self._members.get(name)
        stream = self._archive.extractfile(member) if member is not None else None
        if stream is None:
            message = f"{self.path} lacks {name}; build it again"
            raise ContentBroken(message)
        return stream

    def _read(self, name: str) -> bytes:
        with self._open(name) as stream:
            return stream.read()


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/', 1)}"
