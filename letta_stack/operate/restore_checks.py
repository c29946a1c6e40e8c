"""What a backup must not be to be restored here: somebody else's, newer than what runs, larger than the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import BackupForeign, BackupNewer, BackupNoRoom
from letta_stack.operate import backup as backups
from letta_stack.operate import secrets_bundle

if TYPE_CHECKING:
    from letta_stack.operate.holders.protocol import Holder
    from letta_stack.operate.manifest import Manifest
    from letta_stack.operate.postgres import Postgres
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.project import Project

ROOM = 1.2  # a restored database beside its indexes' temporary files


def refuse_foreign(
    stack: Project | Clustered, about: Manifest, *, foreign: bool, new_key: str, given: object
) -> None:
    """Raise ``BackupForeign`` for a backup of somebody else, or one whose key cannot be put in place."""
    if about.project != stack.name and not foreign:
        raise BackupForeign(
            f"backup {about.id} is of {about.project}, not of {stack.name}; if that is meant, add --foreign"
        )
    names = {secrets_bundle.KEY_VARIABLE, f"{secrets_bundle.KEY_VARIABLE}_FILE"}
    if new_key and isinstance(given, dict) and names & given.keys():
        raise BackupForeign(
            f"backup {about.id} has another encryption key, and here {secrets_bundle.KEY_VARIABLE} is set from "
            "outside; set it to the key of the backup (`age -d -i IDENTITY secrets.age`), `inv up`, and try again"
        )


def refuse_newer(about: Manifest, target: Postgres, holder: Holder) -> None:
    """Raise ``BackupNewer`` if PostgreSQL or the server here could not read the backup."""
    here = target.value("SHOW server_version_num")
    if int(about.postgres_version.partition(".")[0]) > int(here) // 10000:
        raise BackupNewer(
            f"backup {about.id} is of PostgreSQL {about.postgres_version}, here runs {int(here) // 10000}; "
            "restore it where PostgreSQL is at least as new"
        )
    if about.revision and not holder.knows(about.revision):
        raise BackupNewer(
            f"backup {about.id} of Letta {about.letta_version} is at schema revision {about.revision}, which the "
            "server here does not know; start the newer server (LETTA_STACK_IMAGE), then restore"
        )


def refuse_full(about: Manifest, target: Postgres) -> None:
    """Raise ``BackupNoRoom`` unless both databases fit beside each other."""
    refuse_bytes(about.database_bytes, target)


def refuse_bytes(size: int, target: Postgres) -> None:
    """Raise ``BackupNoRoom`` unless a database of ``size`` bytes fits beside the present one."""
    where = target.value("SHOW data_directory")
    answer = process.capture(target.inside("df", "--output=avail", "--block-size=1", where))
    free = int(answer.split()[-1])
    needed = int(size * ROOM)
    if free < needed:
        raise BackupNoRoom(
            f"the database's volume has {free // backups.MIB} MiB free, and what is to be restored needs "
            f"{needed // backups.MIB} beside what is there; free some room on the engine's disk"
        )
