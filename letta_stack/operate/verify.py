"""`inv backup.verify`: a backup is good when it has been restored, and a secret in it could be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.progress import Progress
from letta_stack.errors import BackupBroken, BackupDiffers, BackupForeign, IdentityWrong
from letta_stack.operate import backup as backups
from letta_stack.operate import dump, manifest, scratch, secrets_bundle, store, tables
from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.operate.manifest import Manifest
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.store import Backup
    from letta_stack.topology.project import Project

DATABASE = "restored"
SAMPLES = 20
# The server's own code decides what is readable; its package is left out, because that takes ten seconds to import. Key and
# samples come on standard input, so that no process list has them.
DECRYPT = """
import importlib.util, json, sys, sysconfig, types
asked = json.load(sys.stdin)
for name in ("letta", "letta.settings"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["letta.settings"].settings = types.SimpleNamespace(encryption_key=None)
path = sysconfig.get_path("purelib") + "/letta/helpers/crypto_utils.py"
spec = importlib.util.spec_from_file_location("crypto_utils", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for sample in asked["samples"]:
    try:
        module.CryptoUtils.decrypt(sample, asked["key"])
    except Exception:
        continue
    print("readable")
    break
"""
ENCRYPTED = """
SELECT format('SELECT %I FROM %I.%I WHERE %I <> %L LIMIT {samples};', column_name, table_schema, table_name, column_name, '')
FROM information_schema.columns WHERE column_name LIKE '%\\_enc' AND table_schema !~ '^(pg_|information_schema)'
\\gexec
"""


def verify(backup: Backup, *, identity: Path | None, key: str) -> str:
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
        scratch.started(about.database_image) as target,
    ):
        scratch.restore(target, backup, DATABASE)
        compare(about, target, DATABASE)
        samples = encrypted_samples(target, DATABASE)
    if samples and not readable(about.server_image, samples, key):
        raise BackupDiffers(
            f"backup {backup.id}: none of {len(samples)} encrypted values can be read with the key that belongs "
            "to it; the secrets in this database were encrypted with another key"
        )
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    (backup.directory / store.VERIFIED).write_text(moment + "\n", encoding="ascii")
    rows = sum(table.rows for table in about.tables.values())
    secret = "one of them read" if samples else "there is none"
    return f"{backup.id}: {rows} rows in {len(about.tables)} tables are equal; encrypted values: {secret}"


def verify_for(project: Project, backup: Backup, *, identity: str) -> str:
    """Verify with an identity file, "" for none; then the key of the running project has to be the backup's."""
    key = ""
    if not identity and any(state.service == SERVER for state in project.runner.states()):
        key = secrets_bundle.collect(backups.server_container(project)).encryption_key
    return verify(backup, identity=Path(identity) if identity else None, key=key)


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


def encrypted_samples(postgres: Postgres, database: str) -> list[str]:
    """Return some values that the server stored encrypted."""
    sql = ENCRYPTED.replace("{samples}", str(SAMPLES))
    return [row[0] for row in postgres.query(sql, database=database)][:SAMPLES]


def readable(image: str, samples: Sequence[str], key: str) -> bool:
    """Let the server's own code decrypt one of the samples."""
    options = ["--rm", "--interactive", "--network=none", "--pull=never", "--user=nobody"]
    options += ["--env=HOME=/tmp", "--workdir=/tmp", "--entrypoint=/opt/letta/venv/bin/python"]
    answer = process.capture(
        ["docker", "run", *options, image, "-c", DECRYPT],
        stdin=json.dumps({"key": key, "samples": list(samples)}),
    )
    return "readable" in answer.splitlines()
