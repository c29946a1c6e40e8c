"""Where a project's certificates lie, and how they are read and replaced.

``gateway/gateway.pem`` holds key and chain in one file, so that one rename replaces both and no reader sees halves.
"""

from __future__ import annotations

import os
import ssl
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
# In a directory of its own, which is all that the gateway sees.
GATEWAY = "gateway/gateway.pem"
# TLS between server, PostgreSQL and Redis: an authority of its own, and a directory for each service to see.
INTERNAL = "internal"
INTERNAL_LEAVES = {
    f"{INTERNAL}/database/database.pem": ("letta-db", "pgvector_db", "postgres"),
    f"{INTERNAL}/redis/redis.pem": ("letta-redis", "redis"),
}
DATA_UID = 999  # the user of both images, of the hub and of Debian's packages
CLIENTS = "clients"  # directory of the certificates that `inv certs.client` makes
NGINX_UID = 101  # the user of both nginx images


def directory(project: str) -> Path:
    """Return where the certificates of a project lie."""
    return DIRECTORY / project


def has_certificate(project: str) -> bool:
    """Tell whether the project's gateway has a certificate."""
    return (directory(project) / GATEWAY).is_file()


def variables(project: str) -> dict[str, str]:
    """Return the variables by which compose finds the certificate and the user who may read it."""
    path = directory(project) / GATEWAY
    return {
        "LETTA_STACK_TLS_DIR": str(path.parent),
        "LETTA_STACK_TLS_UID": str(path.stat().st_uid),
    }


def has_internal(project: str) -> bool:
    """Tell whether the project's server, PostgreSQL and Redis speak TLS with each other."""
    return (directory(project) / INTERNAL / AUTHORITY).is_file()


def internal_variables(project: str) -> dict[str, str]:
    """Return the variables by which compose finds the certificates of the data services, and what goes with them.

    A path in an overlay is relative to the entry point, which is not in the same directory for every topology.
    """
    return {
        "LETTA_STACK_INTERNAL_TLS": str(directory(project) / INTERNAL),
        "LETTA_STACK_INTERNAL_AUTHORITY": str(directory(project) / INTERNAL / AUTHORITY),
        "LETTA_STACK_CHECKOUT": str(ROOT),
    }


def context(project: str) -> ssl.SSLContext:
    """Return what a client on this machine checks: the local authority, or nothing.

    A certificate of the user's own is for other names than ``localhost``, so that nobody could check it here.
    """
    authority = directory(project) / AUTHORITY
    if authority.is_file():
        return ssl.create_default_context(cafile=str(authority))
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    return unchecked


def write_authority(directory: Path, pair: Pair) -> None:
    """Write an authority, its certificate last: with it the authority is there."""
    write(directory / AUTHORITY_KEY, pair.key_pem, mode=0o600)
    write(directory / AUTHORITY, pair.certificate_pem, mode=0o644)


def write_gateway(directory: Path, content: bytes) -> None:
    """Replace the gateway's key and chain; its owner is the one whom nginx runs as."""
    path = directory / GATEWAY
    write(path, content, mode=0o600, owner=NGINX_UID if os.getuid() == 0 else os.getuid())
    path.parent.chmod(0o755)


def write_internal(path: Path, content: bytes) -> None:
    """Replace key and certificate of a data service.

    Only root can give a file to the service's user. Else everybody may read it who gets to it, and the directory above
    lets nobody but its owner do that; containers see the file without that directory.
    """
    root = os.getuid() == 0
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.parent.chmod(0o700)
    write(path, content, mode=0o600 if root else 0o644, owner=DATA_UID if root else None)
    path.parent.chmod(0o755)


def write(path: Path, content: bytes, *, mode: int, owner: int | None = None) -> None:
    """Write a file so that readers see the old content or the new, never a part."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), owner, -1)
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
