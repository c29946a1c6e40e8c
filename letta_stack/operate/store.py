"""The directory in which a project's backups are, one directory each."""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console
from letta_stack.base.paths import STATE
from letta_stack.errors import BackupBroken, BackupNewer, BackupUnknown, BadValue
from letta_stack.operate import manifest as manifests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from letta_stack.operate.manifest import Manifest

ID = re.compile(r"\d{8}T\d{6}Z")
PARTIAL = ".partial-"
VERIFIED = "verified"  # holds the time of the last `backup.verify` that ended well


@dataclass(frozen=True)
class Backup:
    """A backup on disk; ``manifest`` is None if it cannot be read, ``problem`` says why."""

    directory: Path
    manifest: Manifest | None
    problem: str = ""

    @property
    def id(self) -> str:
        """The name by which `backup.restore` takes it."""
        return self.directory.name

    @property
    def created(self) -> datetime:
        """When it was begun."""
        return datetime.strptime(self.id, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    @property
    def bytes(self) -> int:
        """How much room it takes."""
        return sum(one.stat().st_size for one in self.directory.iterdir() if one.is_file())

    @property
    def verified(self) -> str:
        """When it was last verified, "" if never."""
        marker = self.directory / VERIFIED
        return marker.read_text(encoding="ascii").strip() if marker.is_file() else ""


def directory_of(project: str, given: str = "") -> Path:
    """Return where the backups of a project are: ``given``, or below .state/."""
    return Path(given).expanduser().resolve() if given else STATE / project / "backups"


def every(directory: Path) -> list[Backup]:
    """Return the backups of a directory, the oldest first."""
    if not directory.is_dir():
        return []
    found = []
    for path in sorted(directory.iterdir()):
        if path.is_dir() and ID.fullmatch(path.name):
            try:
                found.append(Backup(path, manifests.load(path)))
            except (BackupBroken, BackupNewer) as error:
                found.append(Backup(path, None, str(error)))
    return found


def find(directory: Path, name: str) -> Backup:
    """Return one backup by its name or path, or the newest for `latest`. Raises ``BackupUnknown`` and what loading raises."""
    if name == "latest":
        usable = [one for one in every(directory) if one.manifest]
        if not usable:
            raise BackupUnknown(
                f"{directory} has no backup; make one with `inv backup.create`, or name another directory: --dir"
            )
        return usable[-1]
    path = Path(name) if "/" in name else directory / name
    if not path.is_dir():
        known = ", ".join(one.id for one in every(directory)[-3:]) or "none"
        raise BackupUnknown(
            f"no backup {name!r} in {directory} (newest: {known}); see `inv backup.list`"
        )
    return Backup(path.resolve(), manifests.load(path.resolve()))


def to_prune(backups: Sequence[Backup], *, keep: int, days: int, now: datetime) -> list[Backup]:
    """Return what may go: neither among the ``keep`` newest, nor younger than ``days``, nor the newest verified one."""
    if keep < 1:
        raise BadValue("--keep 0 would delete the last backup; keep at least 1")
    usable = [one for one in backups if one.manifest]
    kept = {one.id for one in usable[-keep:]}
    kept |= {one.id for one in usable if now - one.created < timedelta(days=days)}
    kept |= {one.id for one in [one for one in usable if one.verified][-1:]}
    return [one for one in usable if one.id not in kept]


def leftovers(directory: Path) -> list[Path]:
    """Return what interrupted commands left behind."""
    return sorted(directory.glob(f"{PARTIAL}*")) if directory.is_dir() else []


def remove(path: Path) -> None:
    """Delete a backup so that none of it looks like one at any moment."""
    doomed = path.with_name(f"{PARTIAL}{path.name.removeprefix(PARTIAL)}")
    path.replace(doomed)
    shutil.rmtree(doomed)


@contextlib.contextmanager
def in_use(directory: Path) -> Iterator[None]:
    """Keep a backup from being deleted while the block reads it: the schedule deletes when it wants to."""
    with (directory / manifests.NAME).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def is_used(directory: Path) -> bool:
    """Tell whether a backup is being read."""
    try:
        with (directory / manifests.NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def prune(directory: Path, *, keep: int, days: int, dry_run: bool) -> None:
    """Delete what ``to_prune`` names and what interrupted commands left, each with a line."""
    doomed = to_prune(every(directory), keep=keep, days=days, now=datetime.now(UTC))
    for path in [*leftovers(directory), *(one.directory for one in doomed)]:
        if is_used(path):
            console.say(f"{path} is being read, and stays for now")
            continue
        console.result(f"{'would delete' if dry_run else 'deleting'} {path}")
        if not dry_run:
            remove(path)
