"""Where the backups of a project are: a directory or a store. What makes, lists and deletes them need not know which."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.operate import store
from letta_stack.operate.bucket import Bucket
from letta_stack.topology.backups import CREDENTIALS_VARIABLE, SCHEME, TO_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from letta_stack.operate.store import Backup
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.project import Project


@dataclass(frozen=True)
class Place:
    """A directory, in which a backup also waits on its way to a ``bucket``."""

    directory: Path
    bucket: Bucket | None

    @contextlib.contextmanager
    def every(self) -> Iterator[list[Backup]]:
        """Give the backups, the oldest first. Raises ``StoreFailed``."""
        if self.bucket is None:
            yield store.every(self.directory)
            return
        with self.bucket.every() as found:
            yield found

    @contextlib.contextmanager
    def find(self, name: str) -> Iterator[Backup]:
        """Give one backup, or the newest for `latest`. Raises ``BackupUnknown``, ``StoreFailed`` and what loading raises."""
        # A path is a path, wherever the others are.
        if self.bucket is None or "/" in name:
            found = store.find(self.directory, name)
            with store.in_use(found.directory):
                yield found
            return
        with self.bucket.find(name) as copy:
            yield copy

    def prune(self, *, keep: int, days: int, dry_run: bool) -> None:
        """Delete what is neither among the ``keep`` newest nor younger than ``days``. Raises ``StoreFailed``, OSError."""
        store.prune(self.directory, keep=keep, days=days, dry_run=dry_run)
        if self.bucket is not None:
            self.bucket.prune(keep=keep, days=days, dry_run=dry_run)

    def written(self, backup: Backup) -> str:
        """Say where a backup is that was just made."""
        return str(backup.directory) if self.bucket is None else f"{self.bucket}/{backup.id}"


def of(stack: Project | Clustered, given: str) -> Place:
    """Return the place of a flag, else that of the setting, else the directory below .state/. Raises ``BadValue``."""
    address = given or stack.setting(TO_VARIABLE)
    if not address.startswith(SCHEME):
        return Place(store.directory_of(stack.name, address), None)
    credentials = stack.setting(CREDENTIALS_VARIABLE)
    bucket = Bucket.of(address, stack.name, credentials)
    return Place(store.directory_of(stack.name), bucket)
