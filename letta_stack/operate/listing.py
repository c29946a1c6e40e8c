"""What `inv backup.list` and `inv backup.prune` show."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from letta_stack.operate import manifest, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.operate.store import Backup

HEADER = ("backup", "size", "Letta", "rows", "secrets", "verified", "why")


def secrets_of(backup: Backup) -> str:
    """Say what protects the secrets of a backup."""
    if backup.manifest is None:
        return "?"
    if manifest.CLEAR_SECRETS in backup.manifest.files:
        return "IN CLEAR"
    return "encrypted" if manifest.SEALED_SECRETS in backup.manifest.files else "left out"


def row(backup: Backup) -> tuple[str, ...]:
    """Describe a backup in a line."""
    about = backup.manifest
    if about is None:
        return (backup.id, table.size(backup.bytes), "?", "?", "?", "", "CANNOT BE READ")
    rows = sum(one.rows for one in about.tables.values())
    return (
        *(backup.id, table.size(backup.bytes), about.letta_version, str(rows)),
        *(secrets_of(backup), backup.verified or "never", about.reason),
    )


def as_text(backups: Sequence[Backup]) -> str:
    """List backups for a person."""
    return table.render([HEADER, *map(row, backups)])


def as_json(backups: Sequence[Backup]) -> str:
    """List backups for a program: the manifest of each without its tables."""
    listed = []
    for one in backups:
        known = asdict(one.manifest) if one.manifest else {"id": one.id, "problem": one.problem}
        known.pop("tables", None)
        known |= {"directory": str(one.directory), "bytes": one.bytes, "verified": one.verified}
        listed.append(known)
    return json.dumps(listed, indent=1)
