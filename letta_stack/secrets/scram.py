"""What PostgreSQL keeps of a password (RFC 5802, RFC 7677): enough to check one, not to log in with."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

ITERATIONS = 4096
SALT_BYTES = 16
SCHEME = "SCRAM-SHA-256"


def verifier(password: str, *, salt: bytes = b"") -> str:
    """Return the text that ``ALTER ROLE ... PASSWORD`` takes in the place of a password.

    ``password`` must be ASCII: other text would have to be normalised first. A random salt is made if none is given.
    """
    salt = salt or secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = hashlib.sha256(client).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"{SCHEME}${ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def matches(password: str, known: str) -> bool:
    """Say whether ``known`` is the verifier of ``password``."""
    try:
        salt = base64.b64decode(known.split("$")[1].partition(":")[2], validate=True)
        return hmac.compare_digest(verifier(password, salt=salt), known)
    except (IndexError, ValueError):
        return False


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
