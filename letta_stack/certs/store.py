"""Where a project's certificates lie, and how they are read and replaced.

``gateway.pem`` holds key and chain in one file, so that one rename replaces both and no reader sees halves.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from letta_stack.base.paths import ROOT
from letta_stack.certs.issue import Pair
from letta_stack.errors import BadCertificate

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

DIRECTORY = ROOT / ".certs"
AUTHORITY = "ca.pem"  # for clients to trust
AUTHORITY_KEY = "ca-key.pem"
GATEWAY = "gateway.pem"


def directory(project: str) -> Path:
    """Return where the certificates of a project lie."""
    return DIRECTORY / project


def write(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file so that readers see the old content or the new, never a part."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_chain(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, the leaf first."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadCertificate(
            f"{path} holds no PEM certificate ({error}); give the leaf's with its chain below it"
        ) from error


def read_key(path: Path) -> PrivateKeyTypes:
    """Return the private key of a PEM file."""
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, TypeError, ValueError) as error:
        raise BadCertificate(
            f"{path} holds no private key without a pass phrase ({error}); give the key as PEM, unencrypted"
        ) from error


def read_authority(directory: Path) -> Pair | None:
    """Return the local authority, None if there is none yet."""
    if not (directory / AUTHORITY).exists() and not (directory / AUTHORITY_KEY).exists():
        return None
    key = read_key(directory / AUTHORITY_KEY)
    (certificate, *_) = read_chain(directory / AUTHORITY)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadCertificate(f"{directory / AUTHORITY_KEY} is not a key that `inv certs.make` made")
    check_pair(certificate, key, directory / AUTHORITY)
    return Pair(certificate, key)


def check_pair(certificate: x509.Certificate, key: PrivateKeyTypes, path: Path) -> None:
    """Raise ``BadCertificate`` unless the key belongs to the certificate."""
    if certificate.public_key() != key.public_key():
        raise BadCertificate(
            f"the key does not belong to the certificate in {path}; give the two that were made together"
        )
