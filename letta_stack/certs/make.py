"""`inv certs.make`: the local authority once, the gateway's certificate whenever it is due."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from letta_stack.certs import issue, names, store
from letta_stack.certs.check import Finding, check_usable, inspect_file
from letta_stack.errors import BadCertificate, BadValue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RENEW_AT = 1 / 3  # of its life left, as most ACME clients do


def make(
    directory: Path,
    texts: Sequence[str],
    *,
    days: int,
    force: bool,
    now: dt.datetime,
    say: Callable[[str], None],
) -> bool:
    """Make what is missing, due or for other names; return whether the gateway's certificate changed.

    Raises:
        BadCertificate: the authority's files are there but unusable; they are left as they are.
        BadValue: a name is not one.

    """
    wanted = names.parse(texts)
    authority = store.read_authority(directory)
    if authority is None:
        authority = issue.authority(f"letta-stack {directory.name}", now)
        store.write_authority(directory, authority)
        say(f"made the authority {directory / store.AUTHORITY}; clients trust it with --cacert")
    check_outlives(authority, directory, days=days, now=now)
    path = directory / store.GATEWAY
    if reason := due(path, authority, wanted, now, force=force):
        pair = issue.leaf(authority, wanted, now, days=days)
        store.write_gateway(directory, pair.key_pem + pair.certificate_pem)
        say(f"made {path} for {names.show(wanted)}, valid {days} days ({reason})")
        return True
    say(f"{path} is good until {inspect_file(path).ends:%Y-%m-%d}")
    return False


def internal(
    directory: Path, *, days: int, force: bool, now: dt.datetime, say: Callable[[str], None]
) -> bool:
    """Make what TLS between server, PostgreSQL and Redis needs; return whether a certificate changed.

    Its authority is another one than the gateway's: who is trusted by clients is trusted by nothing inside.

    Raises:
        BadCertificate: the authority's files are there but unusable; they are left as they are.

    """
    inside = directory / store.INTERNAL
    authority = store.read_authority(inside)
    if authority is not None:
        check_outlives(authority, inside, days=days, now=now)
    fresh = authority or issue.authority(f"letta-stack {directory.name} internal", now)
    changed = False
    for file, hosts in store.INTERNAL_LEAVES.items():
        path, wanted = directory / file, [x509.DNSName(one) for one in hosts]
        if reason := due(path, fresh, wanted, now, force=force or authority is None):
            pair = issue.leaf(fresh, wanted, now, days=days)
            store.write_internal(path, pair.key_pem + pair.certificate_pem)
            say(f"made {path}, valid {days} days ({reason})")
            changed = True
    if authority is None:
        # Last: with it the project speaks TLS.
        store.write_authority(inside, fresh)
    return changed


def due(
    path: Path,
    authority: issue.Pair,
    wanted: Sequence[object],
    now: dt.datetime,
    *,
    force: bool,
) -> str:
    """Say why a new certificate is needed, "" if none is."""
    if not path.exists():
        return "there was none"
    if force:
        return "--force"
    found: Finding = inspect_file(path)
    (certificate, *_) = store.read_chain(path)
    if certificate.issuer != authority.certificate.subject:
        return "another authority made the old one"
    if set(names.of(certificate)) != set(wanted):
        return "the old one is for other names"
    life = found.ends - certificate.not_valid_before_utc
    if found.ends - now < life * RENEW_AT:
        return f"the old one ends {found.ends:%Y-%m-%d}"
    return ""


def client(
    directory: Path, name: str, *, days: int, now: dt.datetime, say: Callable[[str], None]
) -> None:
    """Make a certificate with which a client shows the gateway who it is.

    Raises:
        BadCertificate: there is no local authority, or its files are unusable, or it ends too soon.
        BadValue: the name is not one.

    """
    who = names.parse_one("NAME", name)
    authority = store.read_authority(directory)
    if authority is None:
        raise BadCertificate(
            f"there is no authority in {directory} to sign it; make one: `inv certs.make`"
        )
    check_outlives(authority, directory, days=days, now=now)
    pair = issue.leaf(authority, [who], now, days=days, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    path = directory / store.CLIENTS / f"{who.value}.pem"
    store.write(path, pair.key_pem + pair.certificate_pem, mode=0o600)
    say(
        f"made {path}, valid {days} days; the gateway asks for it with "
        f"LETTA_STACK_CLIENT_CA={directory / store.AUTHORITY} in .env"
    )


def check_outlives(authority: issue.Pair, directory: Path, *, days: int, now: dt.datetime) -> None:
    """Raise ``BadCertificate`` if the authority ends before a certificate of so many days would."""
    if authority.certificate.not_valid_after_utc <= now + dt.timedelta(days=days):
        raise BadCertificate(
            f"the authority in {directory} ends before a new certificate would; move the directory "
            "elsewhere and run `inv certs.make` again, then hand out the new ca.pem"
        )


def use(
    directory: Path, chain: str, key: str, *, now: dt.datetime, say: Callable[[str], None]
) -> None:
    """Give the gateway a certificate of the user's own.

    Raises:
        BadCertificate: it could not serve with it.
        BadValue: one of the two files is not given.

    """
    if not chain or not key:
        raise BadValue("half a pair; give the certificate with --cert and its key with --key")
    found = check_usable(Path(chain), Path(key), now)
    store.write_gateway(directory, Path(key).read_bytes() + Path(chain).read_bytes())
    for name in (store.AUTHORITY, store.AUTHORITY_KEY):
        (directory / name).unlink(missing_ok=True)
    say(f"the gateway serves {found.names or found.subject} until {found.ends:%Y-%m-%d}")
