"""`inv backup.verify`: a backup is good when it has been restored, and a secret in it could be read."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base.progress import Progress
from letta_stack.errors import BackupBroken, BackupDiffers, BackupForeign, IdentityWrong, NotRunning
from letta_stack.operate import dump, manifest, samples, scratch, secrets_bundle, store, tables
from letta_stack.operate.holders import choose

if TYPE_CHECKING:
    from letta_stack.operate.holders.protocol import Holder
    from letta_stack.operate.manifest import Manifest
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.store import Backup
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.project import Project

DATABASE = "restored"


def verify(holder: Holder, backup: Backup, *, identity: Path | None, key: str) -> str:
    """Restore a backup into a temporary PostgreSQL and compare; return what was proved, in one line.

    ``identity`` decrypts the secrets of the backup; without one, ``key`` (that of the running stack, "" if none runs) has to
    be the key of the backup. Raises ``BackupBroken``, ``BackupForeign``, ``BackupDiffers``, ``IdentityWrong``.
    """
    about = required(backup)
    manifest.check_files(backup.directory, about)
    key = encryption_key(backup, about, identity=identity, key=key)
    manifest.check_seal(backup.directory, key, backup.id)
    with (
        Progress(f"restoring {backup.id} to compare"),
        holder.scratch(about) as target,
    ):
        scratch.restore(target, backup, DATABASE)
        compare(about, target, DATABASE)
        sealed = samples.encrypted(target, DATABASE)
    if sealed and not holder.readable(about, sealed, key):
        raise BackupDiffers(
            f"backup {backup.id}: none of {len(sealed)} encrypted values can be read with the key that belongs "
            "to it; the secrets in this database were encrypted with another key"
        )
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    (backup.directory / store.VERIFIED).write_text(moment + "\n", encoding="ascii")
    rows = sum(table.rows for table in about.tables.values())
    secret = "one of them read" if sealed else "there is none"
    return f"{backup.id}: {rows} rows in {len(about.tables)} tables are equal; encrypted values: {secret}"


def verify_for(stack: Project | Clustered, backup: Backup, *, identity: str) -> str:
    """Verify with an identity file, "" for none; then the key of the running stack has to be the backup's."""
    holder = choose.of(stack)
    key = ""
    if not identity:
        with contextlib.suppress(NotRunning):
            key = holder.secrets().encryption_key
    return verify(holder, backup, identity=Path(identity) if identity else None, key=key)


def required(backup: Backup) -> Manifest:
    """Return the manifest, or raise why there is none."""
    if backup.manifest is None:
        raise BackupBroken(backup.problem)
    return backup.manifest


def encryption_key(backup: Backup, about: Manifest, *, identity: Path | None, key: str) -> str:
    """Return the key of a backup, from the backup itself if it can be read, else the given one if it is the same."""
    clear = backup.directory / manifest.CLEAR_SECRETS
    sealed = backup.directory / manifest.SEALED_SECRETS
    if clear.is_file():
        key = secrets_bundle.Secrets.from_json(clear.read_bytes()).encryption_key
    elif identity is not None:
        if not sealed.is_file():
            raise IdentityWrong(
                f"backup {backup.id} has no encrypted secrets for an identity; leave --identity out"
            )
        key = secrets_bundle.decrypt(sealed.read_bytes(), identity).encryption_key
    if not key or manifest.derive(key, backup.id)[0] != about.key_id:
        raise BackupForeign(
            f"backup {backup.id} of {about.project} belongs to another encryption key than the one here; "
            "give the identity that opens its secrets: --identity FILE"
        )
    return key


def compare(about: Manifest, postgres: Postgres, database: str) -> None:
    """Raise ``BackupDiffers`` unless every table of a database is what the manifest says."""
    found = dump.content(postgres, database)
    if different := tables.differences(about.tables, found):
        raise BackupDiffers(
            f"backup {about.id} restores to something else: {'; '.join(different[:5])}"
            + (f" and {len(different) - 5} more tables" if len(different) > 5 else "")  # noqa: PLR2004 - as above
        )
    settings = dump.facts(postgres, database)["settings"]
    if settings != about.settings:
        raise BackupDiffers(f"backup {about.id}: the settings of the database are {settings}")
