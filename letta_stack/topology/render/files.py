"""The files of the checkout that a model mounts into services: read once, so that all that follows is pure."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import content_hash
from letta_stack.errors import NotExpressible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOTHING = "/dev/null"  # in the place of a file that a setting would name
MOST_BYTES = 900_000
"""Together, of one mount: both engines keep a configuration in their own store, Kubernetes 1 MiB at most."""


@dataclass(frozen=True)
class Mounted:
    """What is mounted at one place of a service."""

    target: str
    directory: bool
    content: Mapping[str, str]  # by file name
    executable: bool

    @property
    def digest(self) -> str:
        """The name of this content."""
        facts = [self.target, str(self.executable)]
        facts += [part for name in sorted(self.content) for part in (name, self.content[name])]
        return content_hash.digest(Path("/"), (), facts)[:10]


def read(model: Mapping[str, Any]) -> dict[tuple[str, str], Mounted]:
    """Return what every service mounts of this machine, by service and target.

    Raises:
        NotExpressible: a mount can be written to, is no text, or is too large for an engine's store.

    """
    sources = {
        one["source"]
        for service in model["services"].values()
        for one in service.get("volumes") or []
        if one["type"] == "bind"
    }
    return {
        (name, mount["target"]): _read(name, mount, sources)
        for name, service in model["services"].items()
        for mount in service.get("volumes") or []
        if mount["type"] == "bind" and mount["source"] != NOTHING
    }


def _read(service: str, mount: Mapping[str, Any], sources: set[str]) -> Mounted:
    path = Path(mount["source"])
    where = f"{service} mounts {path}"
    if not mount.get("read_only"):
        raise NotExpressible(f"{where} to write to it; the hosts of a cluster do not share it")
    files = list(_files(path, where, sources)) if path.is_dir() else [path]
    try:
        content = {file.name: file.read_text(encoding="utf-8") for file in sorted(files)}
    except OSError as error:
        raise NotExpressible(f"{where}, which cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise NotExpressible(f"{where}, which is no text; put it into an image") from error
    if sum(len(text.encode()) for text in content.values()) > MOST_BYTES:
        raise NotExpressible(
            f"{where}, which is larger than {MOST_BYTES} bytes; put it into an image"
        )
    executable = any(file.stat().st_mode & stat.S_IXUSR for file in files)
    return Mounted(mount["target"], path.is_dir(), content, executable)


def _files(directory: Path, where: str, sources: set[str]) -> Iterator[Path]:
    for entry in directory.iterdir():
        if entry.is_file():
            yield entry
        elif str(entry) not in sources:  # else it has a mount of its own
            raise NotExpressible(
                f"{where}, which has the directory {entry.name}; an engine's store is flat"
            )
