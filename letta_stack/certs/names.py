"""The names that a certificate is for."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from cryptography import x509

from letta_stack.errors import BadValue

if TYPE_CHECKING:
    from collections.abc import Iterable

LOCAL = ("localhost", "127.0.0.1", "::1")
LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
LONGEST = 253  # RFC 1035, section 2.3.4, without the last dot


def parse(texts: Iterable[str]) -> list[x509.GeneralName]:
    """Return host names and addresses as a certificate holds them, those of this machine first, each once.

    A wildcard stands for one label on the left, RFC 6125, section 6.4.3.

    Raises:
        BadValue: a name is neither a host name nor an address.

    """
    found: dict[str, x509.GeneralName] = {}
    for text in (*LOCAL, *texts):
        found.setdefault(text.lower(), parse_one("--name", text))
    return list(found.values())


def parse_one(flag: str, text: str) -> x509.GeneralName:
    """Return one name as a certificate holds it; ``flag`` is where it came from. Raises ``BadValue``."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    labels = text.lower().removeprefix("*.").split(".")
    if len(text) > LONGEST or not all(LABEL.fullmatch(label) for label in labels):
        raise BadValue(
            f"{flag} {text!r} is neither a host name nor an address; give one such as letta.example.org"
        )
    return x509.DNSName(text.lower())


def of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Return the names that a certificate is for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(extension.value)


def show(names: Iterable[x509.GeneralName]) -> str:
    """Write names for a person."""
    return ", ".join(str(name.value) for name in names)
