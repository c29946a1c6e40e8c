"""What a backup says about itself, and how it proves that this is true."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from letta_stack.errors import BackupBroken, BackupNewer
from letta_stack.operate.tables import Table

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
NAME = "manifest.json"
SEAL = "manifest.hmac"
DUMP = "database.dump"
SEALED_SECRETS = "secrets.age"
CLEAR_SECRETS = "secrets.json"


@dataclass(frozen=True)
class File:
    """One file of a backup."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that is known of a backup without reading its dump."""

    id: str
    created: str  # UTC, ISO 8601
    reason: str
    topology: str
    project: str
    stack_version: str
    letta_version: str
    server_image: str  # the engine's id of it
    database_image: str  # likewise: a PostgreSQL that can read the dump
    postgres_version: str
    revision: str  # of the schema, "" if it is empty
    extensions: dict[str, str]
    database: str
    database_bytes: int
    owner: str
    roles: list[str]
    settings: list[list[str]]
    key_id: str  # tells encryption keys apart, without telling anything about one
    recipients: list[str]
    files: dict[str, File]
    tables: dict[str, Table]
    format: int = field(default=FORMAT)

    def save(self, directory: Path, encryption_key: str) -> None:
        """Write the manifest and its seal, which only somebody with the encryption key can make."""
        text = json.dumps(asdict(self), indent=1).encode()
        (directory / NAME).write_bytes(text)
        (directory / SEAL).write_text(seal(text, encryption_key, self.id) + "\n", encoding="ascii")


def load(directory: Path) -> Manifest:
    """Read a manifest. Raises ``BackupBroken``, ``BackupNewer``."""
    try:
        fields = json.loads((directory / NAME).read_bytes())
        written = fields["format"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BackupBroken(
            f"{directory} has no manifest that can be read ({error}); it is no backup of letta-stack, or "
            "an incomplete copy: copy it again, or take another of `inv backup.list`"
        ) from error
    if isinstance(written, int) and written > FORMAT:
        raise BackupNewer(
            f"{directory.name} has format {written}, this letta-stack {fields.get('stack_version', '')} reads up "
            f"to {FORMAT}; restore it with the letta-stack that made it, or a newer one"
        )
    try:
        fields["files"] = {name: File(**one) for name, one in fields["files"].items()}
        fields["tables"] = {name: Table(**one) for name, one in fields["tables"].items()}
        return Manifest(**fields)
    except (AttributeError, TypeError, KeyError) as error:
        raise BackupBroken(
            f"the manifest of {directory.name} lacks something ({error}); take another of `inv backup.list`"
        ) from error


def derive(encryption_key: str, backup: str) -> tuple[str, bytes]:
    """Return an identifier of the key and a key for the seal. Slow on purpose: users choose short keys."""
    derived = hashlib.scrypt(
        encryption_key.encode(), salt=backup.encode(), n=2**14, r=8, p=1, dklen=48
    )
    return derived[:16].hex(), derived[16:]


def seal(text: bytes, encryption_key: str, backup: str) -> str:
    """Return the authentication code of a manifest."""
    return hmac.new(derive(encryption_key, backup)[1], text, "sha256").hexdigest()


def check_seal(directory: Path, encryption_key: str, backup: str) -> None:
    """Raise ``BackupBroken`` if somebody without the encryption key changed the manifest."""
    expected = seal((directory / NAME).read_bytes(), encryption_key, backup)
    try:
        found = (directory / SEAL).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        found = ""
    if not hmac.compare_digest(expected, found):
        raise BackupBroken(
            f"the manifest of {backup} was changed after it was written; take another of `inv backup.list`"
        )


def digest(path: Path) -> File:
    """Return size and checksum of a file."""
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return File(path.stat().st_size, checksum)


def check_files(directory: Path, manifest: Manifest) -> None:
    """Raise ``BackupBroken`` for the first file that is not what was written."""
    for name, written in manifest.files.items():
        path = directory / name
        size = path.stat().st_size if path.is_file() else -1
        if size != written.bytes:
            seen = f"has {size} bytes" if size >= 0 else "is missing"
            problem = (
                f"{name} {seen}, {written.bytes} were written: it is truncated or was replaced"
            )
        elif digest(path) != written:
            problem = f"{name} has another checksum than when it was written"
        else:
            continue
        raise BackupBroken(
            f"backup {manifest.id}: {problem}; copy it again from where it is whole, or take another of "
            "`inv backup.list`"
        )
