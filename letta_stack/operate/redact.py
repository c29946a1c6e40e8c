"""Takes secrets out of text before anybody else may see it: those that are known, and what looks like one."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "[redacted]"
SHORTEST = 6  # a shorter "secret" is a word that stands everywhere
NAMES = (
    "password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|encryption[_-]?key|ingestion[_-]?key"
    "|credentials?|cookie"
)
# The group `keep` stays, what follows goes.
PATTERNS = (
    r"(?P<keep>-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?-----END [A-Z0-9 ]*PRIVATE KEY-----",
    r"(?P<keep>)AGE-SECRET-KEY-1[0-9A-Z]+",
    r"(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s:/@\"']*:)[^\s/@\"']+(?=@)",
    r"(?P<keep>(?i:\bauthorization\b|\bproxy-authorization\b)[\"']?\s*[:=]\s*[\"']?(?i:bearer|basic|password)?\s*)[^\s\"',;]+",
    r"(?P<keep>(?i:\b(?:bearer|basic|password\s*[\"']?\s*[:=]\s*[\"']?password))\s+)[A-Za-z0-9+/=_.~-]{6,}",
    rf"(?P<keep>(?i:[\w.-]*(?:{NAMES}))\\*[\"']?\s*[:=]\s*(?:\\*[\"'])?)(?!\[redacted\])[^\s\"'\\,;&}}]+",
    r"(?P<keep>)\b(?:sk|pk|rk)-[A-Za-z0-9_-]{12,}",
    r"(?P<keep>)\bgh[opsur]_[A-Za-z0-9]{20,}",
    r"(?P<keep>)\bxox[abpr]-[A-Za-z0-9-]{10,}",
    r"(?P<keep>)\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"(?P<keep>)\bAIza[A-Za-z0-9_-]{30,}",
    r"(?P<keep>)\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"(?P<keep>)\bSCRAM-SHA-256\$[^\s\"']+",
)
EXPRESSIONS = [re.compile(pattern, re.DOTALL) for pattern in PATTERNS]


def forms(secret: str) -> set[str]:
    """Return what a secret may look like: as it is, in a URI, in JSON, in Base64."""
    plain = secret.encode()
    return {
        secret,
        quote(secret, safe=""),
        secret.replace("\\", "\\\\").replace('"', '\\"'),
        base64.b64encode(plain).decode().rstrip("="),
        base64.urlsafe_b64encode(plain).decode().rstrip("="),
    }


def redact(text: str, known: Iterable[str]) -> str:
    """Return a text without the known secrets, in any of their forms, and without what looks like one."""
    found = {form for one in known if len(one) >= SHORTEST for form in forms(one)}
    for form in sorted(found, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    for expression in EXPRESSIONS:
        text = expression.sub(lambda match: match["keep"] + HIDDEN, text)
    return text
