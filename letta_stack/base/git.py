"""What git says about the checkout: the commit that an image can be traced to, and whether it tells the truth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import DirtyTree

if TYPE_CHECKING:
    from pathlib import Path

FINGERPRINT_LENGTH = 8
SHORT_COMMIT = 7
MAX_NAMED_FILES = 3


@dataclass(frozen=True)
class Checkout:
    """``epoch`` is the commit's time in seconds: two builds of a commit must not differ by the clock."""

    commit: str
    epoch: int
    dirty: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def local_part(self) -> str:
        """What makes a version unique to these uncommitted changes: ``dev.g1234567.d89abcdef``."""
        return f"dev.g{self.commit[:SHORT_COMMIT]}.d{self.fingerprint}" if self.dirty else ""


def read(root: Path) -> Checkout:
    """Read the checkout at ``root``; ``DirtyTree`` if it is none, or has no commit yet."""
    head = process.probe(["git", "log", "-1", "--format=%H %ct"], cwd=root)
    if not head.ok:
        message = f"{root} is not a git checkout with a commit, so its image could not be traced; release from a clone"
        raise DirtyTree(message)
    commit, epoch = head.stdout.split()
    status = process.capture(
        ["git", "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames"], cwd=root
    )
    # Without renames each entry is "XY path".
    files = tuple(entry[3:] for entry in status.split("\0") if entry)
    return Checkout(commit, int(epoch), files, _fingerprint(root, files) if files else "")


def _fingerprint(root: Path, files: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name in files:
        path = root / name
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:FINGERPRINT_LENGTH]


def check_clean(checkout: Checkout, *, allow_dirty: bool) -> None:
    """Refuse to release changes that no commit holds, unless they become a development version."""
    if not checkout.dirty or allow_dirty:
        return
    named = ", ".join(checkout.dirty[:MAX_NAMED_FILES])
    more = len(checkout.dirty) - MAX_NAMED_FILES
    message = (
        f"not committed: {named}{f' and {more} more' if more > 0 else ''}; "
        "commit first, or build a development version with --allow-dirty"
    )
    raise DirtyTree(message)
