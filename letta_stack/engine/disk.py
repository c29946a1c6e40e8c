"""Whether there is room: in the engine's directory, and where an image is written before it is pushed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.errors import LowDisk

if TYPE_CHECKING:
    from letta_stack.engine.inspect import Engine

GIB = 1024**3
GIGABYTE = 1000**3
ROOM_TO_BUILD = 8 * GIB  # base images, build cache and the image itself
ROOM_TO_RUN = 1 * GIB


def check(engine: Engine, *, build: bool) -> None:
    """Raise if the engine's directory is too full. An engine elsewhere cannot be asked."""
    root = Path(engine.root_dir)
    if not engine.root_dir or not root.is_dir():
        return
    needed = ROOM_TO_BUILD if build else ROOM_TO_RUN
    free = shutil.disk_usage(root).free
    if free < needed:
        purpose = "building the image" if build else "running"
        raise LowDisk(
            f"{free / GIB:.1f} GiB free in {root}, {purpose} needs {needed / GIB:.0f} GiB; free some "
            "room, for instance with `docker builder prune`"
        )


def check_room(directory: Path, needed: int) -> None:
    """Raise ``LowDisk`` unless ``needed`` bytes fit into ``directory``."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        message = (
            f"{directory} has {free / GIGABYTE:.1f} GB left and the image may need {needed / GIGABYTE:.1f} GB; "
            "free some, or point TMPDIR to a larger disk"
        )
        raise LowDisk(message)
