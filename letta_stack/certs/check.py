"""`inv certs.check`: what expires, and what a client would refuse."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from letta_stack.certs import names, store
from letta_stack.errors import BadCertificate, CertificateExpires

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One certificate: what it is for and when it ends."""

    path: Path
    subject: str
    names: str
    begins: dt.datetime
    ends: dt.datetime

    def days(self, now: dt.datetime) -> int:
        """Return the whole days that are left, negative once it has ended."""
        return (self.ends - now).days


def inspect_file(path: Path) -> Finding:
    """Read the leaf of a PEM file."""
    (certificate, *_) = store.read_chain(path)
    return Finding(
        path=path,
        subject=certificate.subject.rfc4514_string(),
        names=names.show(names.of(certificate)),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
    )


def findings(directory: Path) -> list[Finding]:
    """Read every certificate of a project.

    Raises:
        BadCertificate: there is none, or one cannot be read.

    """
    inside = f"{store.INTERNAL}/{store.AUTHORITY}"
    files = (store.AUTHORITY, store.GATEWAY, inside, *store.INTERNAL_LEAVES)
    paths = [directory / one for one in files]
    found = [inspect_file(path) for path in paths if path.exists()]
    if not found:
        raise BadCertificate(f"no certificate in {directory}; make one: `inv certs.make`")
    return found


def check_usable(
    chain: Path, key: Path, now: dt.datetime, *, renew: str = "inv certs.make"
) -> Finding:
    """Return the leaf if a server can use it now with this key; ``renew`` is the command that makes a new one.

    Raises:
        BadCertificate: unreadable, key of another certificate, ended, not begun, broken chain.

    """
    certificates = store.read_chain(chain)
    store.check_pair(certificates[0], store.read_key(key), chain)
    found = inspect_file(chain)
    if found.ends <= now:
        raise BadCertificate(f"{chain} ended {found.ends:%Y-%m-%d}; renew it: `{renew}`")
    if found.begins > now:
        raise BadCertificate(
            f"{chain} begins {found.begins:%Y-%m-%d %H:%M} UTC; check the clock of this machine"
        )
    for child, parent in itertools.pairwise(certificates):
        try:
            child.verify_directly_issued_by(parent)
        except (InvalidSignature, TypeError, ValueError) as error:
            raise BadCertificate(
                f"{chain}: {child.subject.rfc4514_string()} was not issued by the certificate below it; "
                "put the leaf first and each issuer after what it signed"
            ) from error
    return found


def check_authority(setting: str, path: Path, now: dt.datetime) -> None:
    """Raise ``BadCertificate`` unless each certificate in the file that ``setting`` names may sign others now."""
    try:
        authorities = store.read_chain(path)
    except BadCertificate as error:
        raise BadCertificate(
            f"{setting} names {path}, which is no readable PEM file with a certificate; give the authority's"
        ) from error
    for one in authorities:
        try:
            found = one.extensions.get_extension_for_class(x509.BasicConstraints)
            signs = found.value.ca
        except x509.ExtensionNotFound:
            signs = False
        if not signs:
            raise BadCertificate(
                f"{setting}: {one.subject.rfc4514_string()} in {path} is no authority; give the certificate that signs "
                "others, as PEM"
            )
        if one.not_valid_after_utc <= now:
            raise BadCertificate(
                f"{setting}: the authority in {path} ended {one.not_valid_after_utc:%Y-%m-%d}; give one that is valid"
            )


def describe(found: Finding, now: dt.datetime) -> str:
    """Write one line about a certificate."""
    left = f"{found.days(now)} days left, until {found.ends:%Y-%m-%d}"
    internal = f"{store.INTERNAL}/" if store.INTERNAL in found.path.parts else ""
    return f"{internal}{found.path.name}: {left}, for {found.names or found.subject}"


def check_expiry(findings: Sequence[Finding], now: dt.datetime, *, soon: int) -> None:
    """Raise ``CertificateExpires`` for the first certificate that ends within ``soon`` days."""
    first = min(findings, key=lambda one: one.ends)
    if first.days(now) < soon:
        renew = "certs.internal" if store.INTERNAL in first.path.parts else "certs.make"
        ends = "ended" if first.ends <= now else "ends"
        raise CertificateExpires(
            f"{first.path} {ends} {first.ends:%Y-%m-%d}; renew it: `inv {renew}`, or replace your own file"
        )
