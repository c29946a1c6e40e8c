"""Files that are replaced as a whole, so that a reader sees the old content or the new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import console

if TYPE_CHECKING:
    from pathlib import Path

READABLE = 0o644


def replace(path: Path, text: str) -> None:
    """Replace a file of the system in one step, readable for everybody, and say so.

    Args:
        path: the file; its directory is made if it is not there.
        text: all that will be in it.

    """
    console.say(f"writing {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that no reader of the directory takes for its own: apt and others go by the ending.
    fresh = path.with_name(f".{path.name}.letta-stack")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(READABLE)
    fresh.replace(path)
