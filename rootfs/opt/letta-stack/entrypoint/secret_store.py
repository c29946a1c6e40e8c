"""Secrets that the container makes for itself and keeps on the volume."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import TYPE_CHECKING

from .errors import EncryptionKeyMissing
from .log import log

if TYPE_CHECKING:
    from pathlib import Path

_KEY = "encryption-key"
_FINGERPRINT = "encryption-key.sha256"


def keep(path: Path, value: str) -> str:
    """Store ``value`` under ``path`` (mode 0600) unless somebody was faster; return what is stored.

    The file appears complete or not at all: replicas that share a volume may start at the same moment.
    """
    if path.exists():
        return path.read_text().strip()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(value + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return path.read_text().strip()
    finally:
        temporary.unlink()
    return value


def kept_or_new(path: Path) -> str:
    """Return the secret stored under ``path``; make a random one at the first start.

    It consists of letters, digits, ``-`` and ``_``, so that it can stand in any URI, shell or SQL text.
    """
    return keep(path, secrets.token_urlsafe(32))


def encryption_key(directory: Path, given: str | None) -> str:
    """Return the key for what the server encrypts in its database.

    The given key wins. A given key is not copied to the volume, only its hash, to notice that it changed: the server
    would fail on some requests ("Failed to decrypt data") or hand ciphertext to tools, without a word at start.
    Raises EncryptionKeyMissing.
    """
    generated = directory / _KEY
    fingerprint = directory / _FINGERPRINT
    last = fingerprint.read_text().strip() if fingerprint.exists() else None
    if given is None:
        if generated.exists() or last is None:
            key = kept_or_new(generated)
        else:
            raise EncryptionKeyMissing(
                "LETTA_ENCRYPTION_KEY is not set, but the data of this volume was encrypted with one: set it again "
                f"(or delete {fingerprint} if those secrets may be lost)"
            )
    else:
        key = given
    new = hashlib.sha256(key.encode()).hexdigest()
    if last is not None and last != new:
        log(
            "WARNING: the encryption key differs from the one of the last start; secrets that the server stored "
            "with the old key can no longer be read. Set LETTA_ENCRYPTION_KEY to the old key to get them back"
        )
    if last != new:
        fingerprint.unlink(missing_ok=True)
        keep(fingerprint, new)
    return key
