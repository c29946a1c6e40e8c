"""`inv backup.restore`: beside what is there, compared, and only then in its place."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console, lock
from letta_stack.base.progress import Progress
from letta_stack.errors import (
    BackupBroken,
    BackupDiffers,
    CommandFailed,
    LettaStackError,
    RestoreFailed,
)
from letta_stack.operate import backup as backups
from letta_stack.operate import (
    manifest,
    restore_checks,
    scratch,
    verify,
)
from letta_stack.operate.holders import choose
from letta_stack.operate.postgres import identifier, literal
from letta_stack.topology import lifecycle
from letta_stack.topology.backups import RECIPIENTS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.operate.holders.protocol import Holder
    from letta_stack.operate.manifest import Manifest
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.store import Backup
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.project import Project

SWAP_ATTEMPTS = 5


def run(
    stack: Project | Clustered,
    backup: Backup,
    *,
    identity: str,
    directory: Path,
    recipients: Sequence[str],
    clear: bool,
    foreign: bool,
    yes: bool,
) -> None:
    """Restore once that is confirmed, while nobody else changes the project; see ``restore``."""
    if not yes:
        lifecycle.confirm(f"replace the data of {stack.name} with backup {backup.id}?")
    with lock.held(stack.name):
        before = restore(
            stack,
            backup,
            identity=Path(identity) if identity else None,
            directory=directory,
            to=[]
            if clear
            else backups.recipients(recipients, stack.setting(RECIPIENTS_VARIABLE), directory),
            clear=clear,
            foreign=foreign,
        )
    console.result(f"restored {backup.id}; what was there before is backup {before.id}")


def restore(
    stack: Project | Clustered,
    backup: Backup,
    *,
    identity: Path | None,
    directory: Path,
    to: Sequence[str],
    clear: bool = False,
    foreign: bool = False,
) -> Backup:
    """Put a backup in the place of a running stack's database; return the backup of what was there before.

    ``directory``, ``to`` and ``clear`` are for that one, as in ``backup.create``; ``foreign`` takes a backup of another
    stack. Everything that can refuse the backup does so before anything changes. Raises ``BackupBroken``,
    ``BackupForeign``, ``BackupNewer``, ``BackupNoRoom``, ``IdentityWrong``, ``RestoreFailed``.
    """
    about = verify.required(backup)
    manifest.check_files(backup.directory, about)
    holder = choose.of(stack)
    target, current = holder.postgres(), holder.secrets()
    key = verify.encryption_key(backup, about, identity=identity, key=current.encryption_key)
    manifest.check_seal(backup.directory, key, backup.id)
    new_key = key if key != current.encryption_key else ""
    restore_checks.refuse_foreign(
        stack, about, foreign=foreign, new_key=new_key, given=current.environment
    )
    restore_checks.refuse_newer(about, target, holder)
    restore_checks.refuse_full(about, target)
    before = backups.create(
        stack,
        directory=directory,
        to=to,
        clear=clear,
        # The key stays where it is, so this backup can be restored without a copy of it.
        omit=not new_key,
        reason=f"before the restore of {backup.id}",
    )
    fresh = f"{target.name}_restore_{backup.id.lower()}"
    with Progress(f"restoring {backup.id} beside the present database"):
        load(target, backup, about, fresh)
    replace_database(holder, target, fresh=fresh, new_key=new_key, before=before)
    return before


def load(target: Postgres, backup: Backup, about: Manifest, fresh: str) -> None:
    """Restore into a new database and compare it; leave nothing if that fails."""
    drop(target, fresh)
    try:
        scratch.restore(target, backup, fresh)
        if about.owner != target.owner:
            adopt = f"REASSIGN OWNED BY {identifier(about.owner)} TO {identifier(target.owner)}"
            target.query(adopt, database=fresh)
        verify.compare(about, target, fresh)
    except BaseException as error:
        drop(target, fresh)
        if isinstance(error, BackupBroken | BackupDiffers):
            raise
        if isinstance(error, CommandFailed):
            raise RestoreFailed(f"{error}; the database that was in use still is") from error
        raise


def drop(target: Postgres, database: str) -> None:
    """Delete a database if it is there."""
    target.query(f"DROP DATABASE IF EXISTS {identifier(database)}", database="postgres")


def replace_database(
    holder: Holder, target: Postgres, *, fresh: str, new_key: str, before: Backup
) -> None:
    """Exchange two databases and the key while no server works; undo it if the server does not come back."""
    old = f"{target.name}_before_{before.id.lower()}"
    old_key = holder.secrets().encryption_key if new_key else ""
    try:
        with holder.stopped(target):
            swap(target, fresh, old)
            if new_key:
                holder.install_key(new_key)
        holder.wait_ready()
    except LettaStackError as error:
        undone = "the restored database stays in use"
        with contextlib.suppress(LettaStackError), holder.stopped(target):
            swap(target, old, fresh)
            if old_key:
                holder.install_key(old_key)
            undone = "the database from before is in use again"
        raise RestoreFailed(
            f"the restore did not end well ({error}); {undone}, and backup {before.id} holds it"
        ) from error
    drop(target, old)


def swap(target: Postgres, fresh: str, old: str) -> None:
    """Rename both databases in one transaction, so that there is one of the right name at any moment."""
    name = identifier(target.name)
    sql = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "  # noqa: S608 - quoted
        f"WHERE datname IN ({literal(target.name)}, {literal(fresh)});\n"
        f"BEGIN; ALTER DATABASE {name} RENAME TO {identifier(old)};\n"
        f"ALTER DATABASE {identifier(fresh)} RENAME TO {name}; COMMIT;\n"
    )
    for attempt in range(SWAP_ATTEMPTS):
        try:
            target.query(sql, database="postgres")
        except CommandFailed:
            # Somebody connected in the moment between.
            if attempt == SWAP_ATTEMPTS - 1:
                raise
            time.sleep(0.5)
        else:
            return
