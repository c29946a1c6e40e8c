"""`inv backup.create`: a consistent dump, the secrets for those who may have them, and a manifest that proves both."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from letta_stack.base import console
from letta_stack.errors import BackupNoRoom, CommandFailed, SecretsUnprotected
from letta_stack.operate import dump, manifest, secrets_bundle, store
from letta_stack.operate.manifest import Manifest
from letta_stack.topology import metrics
from letta_stack.topology.backups import RECIPIENTS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from letta_stack.operate.bucket import Bucket
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.secrets_bundle import Secrets
    from letta_stack.operate.store import Backup
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.project import Project

MIB = 1024**2
RESERVE = 256 * MIB  # what a backup leaves to everything else on its disk


def recipients(given: Sequence[str], setting: str, directory: Path) -> list[str]:
    """Return who may decrypt: the flags, else the ``setting``, else those of the newest backup."""
    if given:
        return list(given)
    if named := listed(setting):
        return named
    known = [one.manifest.recipients for one in store.every(directory) if one.manifest]
    return known[-1] if known else []


def listed(text: str) -> list[str]:
    """Return the recipients of a setting, between commas."""
    return [one.strip() for one in text.split(",") if one.strip()]


def create(
    stack: Project | Clustered,
    *,
    directory: Path,
    to: Sequence[str],
    clear: bool = False,
    omit: bool = False,
    reason: str = "by hand",
    bucket: Bucket | None = None,
) -> Backup:
    """Back a running stack up into a new directory below ``directory``; with a ``bucket`` it goes on to there.

    ``to`` are age recipients for the secrets. ``clear`` writes them as they are instead, ``omit`` leaves them out: such a
    backup restores only where the same encryption key still is. Raises ``SecretsUnprotected`` if none of the three is
    given, ``BackupNoRoom``, ``NotRunning``, ``DatabaseElsewhere``.
    """
    if not (to or clear or omit):
        raise SecretsUnprotected(
            "nothing would protect the secrets in this backup; give --recipient age1... (see `age-keygen`), "
            f"or set {RECIPIENTS_VARIABLE}, or mean it with --clear-secrets"
        )
    for one in to:
        secrets_bundle.recipient(one)
    from letta_stack.operate.holders import choose  # noqa: PLC0415 - the schedule's image has nothing for clusters

    holder = choose.of(stack)
    source, secrets = holder.postgres(), holder.secrets()
    about = {"reason": reason, **holder.origin(source)}
    return write(source, secrets, about, directory=directory, to=to, clear=clear, bucket=bucket)


def before(stack: Project | Clustered, *, reason: str) -> Backup:
    """Back up what is there before it is changed, in the usual directory; raises as ``create`` does.

    Without recipients the secrets stay out: they stay where they are, so nobody need be able to read a copy of them.
    """
    directory = store.directory_of(stack.name)
    to = recipients([], stack.setting(RECIPIENTS_VARIABLE), directory)
    return create(stack, directory=directory, to=to, omit=not to, reason=reason)


def write(
    source: Postgres,
    secrets: Secrets,
    about: Mapping[str, Any],
    *,
    directory: Path,
    to: Sequence[str],
    clear: bool = False,
    bucket: Bucket | None = None,
) -> Backup:
    """Write a backup of a database with its secrets; ``about`` is where it comes from and why. Raises ``BackupNoRoom``."""
    facts = dump.facts(source)
    directory.mkdir(parents=True, exist_ok=True)
    check_room(directory, int(str(facts["bytes"])))
    moment = datetime.now(UTC)
    name = f"{moment:%Y%m%dT%H%M%SZ}"
    partial = directory / f"{store.PARTIAL}{name}"
    partial.mkdir(mode=0o700)
    try:
        content = dump.write(source, partial / manifest.DUMP)
        write_secrets(partial, secrets, to=to, clear=clear)
        files = {one.name: manifest.digest(one) for one in sorted(partial.iterdir())}
        written = Manifest(
            id=name,
            created=moment.isoformat(timespec="seconds"),
            key_id=manifest.derive(secrets.encryption_key, name)[0],
            recipients=list(to),
            files=files,
            tables=content,
            **about,
            **database(source, facts),
        )
        written.save(partial, secrets.encryption_key)
        flush(partial)
        give(partial, directory)
        if bucket is None:
            partial.replace(directory / name)
        else:
            bucket.upload(partial, name)
    except (OSError, CommandFailed) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if is_full(error):
            raise BackupNoRoom(
                f"{directory} became full while the backup was written; nothing of it was kept: free some "
                "room (`inv backup.prune`), or choose another disk: --dir"
            ) from error
        raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    metrics.backed_up(about["project"])
    console.say(
        f"backup {name}: {sum(one.rows for one in content.values())} rows in {len(content)} tables"
    )
    return store.Backup(directory / name, replace(written))


def check_room(directory: Path, database_bytes: int) -> None:
    """Raise ``BackupNoRoom`` unless even a dump that does not compress would fit."""
    free = shutil.disk_usage(directory).free
    needed = database_bytes + RESERVE
    if free < needed:
        raise BackupNoRoom(
            f"{directory} has {free // MIB} MiB free and a backup of this database may need {needed // MIB}; "
            "free some room (`inv backup.prune`), or choose another disk: --dir"
        )


def is_full(error: Exception) -> bool:
    """Say whether a disk without room was the reason, ours or that of the program that wrote to it."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return isinstance(error, CommandFailed) and "no space left" in error.stderr.lower()


def write_secrets(directory: Path, secrets: Secrets, *, to: Sequence[str], clear: bool) -> None:
    """Write the secrets, for their recipients if there are any."""
    if to:
        (directory / manifest.SEALED_SECRETS).write_bytes(secrets_bundle.encrypt(secrets, to))
    elif clear:
        (directory / manifest.CLEAR_SECRETS).write_bytes(secrets.to_json())


def database(source: Postgres, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what the manifest says about the database."""
    return {
        "postgres_version": str(facts["server"]).split()[0],
        "revision": facts["revision"] or "",
        "extensions": facts["extensions"],
        "database": source.name,
        "database_bytes": facts["bytes"],
        "owner": source.owner,
        "roles": facts["roles"],
        "settings": facts["settings"],
    }


def give(made: Path, directory: Path) -> None:
    """Give a backup that root made to the owner of all backups: the service that deletes old ones is not root."""
    owner = directory.stat()
    if os.getuid() == 0 and owner.st_uid != 0:
        for path in (made, *made.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)


def flush(directory: Path) -> None:
    """Bring every file to the disk before the directory gets its final name; only the owner may read them."""
    for path in directory.iterdir():
        path.chmod(0o600)
        with path.open("rb") as file:
            os.fsync(file.fileno())
