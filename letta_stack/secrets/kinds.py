"""Which secrets a project has, what each file holds, and what the data services get to know of it."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from letta_stack.errors import BadSecret
from letta_stack.secrets import scram

if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE = "database-uri"
REDIS = "redis-password"
SERVER = "server-password"
ENCRYPTION_KEY = "encryption-key"
NAMES = (DATABASE, REDIS, SERVER, ENCRYPTION_KEY)

DATABASE_LOGIN = "database-login.sql"
REDIS_USERS = "redis-users.acl"

LOGINS = ("letta_1", "letta_2")
"""Two roles that may log in as the owner of the data. A rotation changes to the other one, so that servers that still
have the old password work until they are restarted."""
SHORTEST = 16
WELL_KNOWN = ("letta", "postgres", "password", "changeme", "secret", "default", "admin", "redis")
_DATABASE_URI = "postgresql://{login}:{password}@letta-db:5432/letta"
_RANDOM_BYTES = 32


def new(name: str, *, login: str = LOGINS[0]) -> str:
    """Return a random value: letters, digits, - and _ only, so that it can stand in any URI, shell or SQL text."""
    value = secrets.token_urlsafe(_RANDOM_BYTES)
    return _DATABASE_URI.format(login=login, password=value) if name == DATABASE else value


def password(name: str, value: str) -> str:
    """Return the part of a value that is the secret itself."""
    return urlsplit(value).password or "" if name == DATABASE else value


def login(uri: str) -> str:
    """Return the role of a database URI; raise ``BadSecret``."""
    role = urlsplit(uri).username or ""
    if role not in LOGINS:
        raise BadSecret(f"{DATABASE} must name one of the roles {', '.join(LOGINS)}")
    return role


def other_login(role: str) -> str:
    """Return the role that a rotation changes to."""
    return LOGINS[1 - LOGINS.index(role)]


def check(name: str, value: str) -> None:
    """Raise ``BadSecret`` for what everybody would guess, or what its users could not take."""
    try:
        text = password(name, value)
        text.encode("ascii")
    except ValueError:
        raise BadSecret(
            f"{name} has characters that are not ASCII; use letters, digits, - and _"
        ) from None
    if not text:
        raise BadSecret(f"{name} is empty; delete the file, then a random one is made")
    if len(text) < SHORTEST or text.lower().strip("0123456789") in WELL_KNOWN:
        raise BadSecret(
            f"{name} is short or well known; delete the file, then a random one is made, or use "
            f"{SHORTEST} characters or more"
        )
    if quote(text, safe="") != text:
        raise BadSecret(f"{name} has characters that need quoting; use letters, digits, - and _")
    if name == DATABASE:
        login(value)


def derived(values: Mapping[str, str], verifiers: Mapping[str, str]) -> dict[str, str]:
    """Return the files of PostgreSQL and Redis. They hold hashes: neither service needs to know a password."""
    role = login(values[DATABASE])
    digest = hashlib.sha256(values[REDIS].encode("ascii")).hexdigest()
    return {
        DATABASE_LOGIN: f"ALTER ROLE {role} LOGIN PASSWORD '{verifiers[DATABASE]}';\n",
        # The health check needs no password for a PING, nor does the exporter for the counters: there is no data in them.
        REDIS_USERS: f"user default on #{digest} ~* &* +@all\nuser health on nopass -@all +ping +info\n",
    }


def fingerprint(name: str, value: str) -> str:
    """Return what is kept to notice that a secret was changed by hand."""
    return scram.verifier(password(name, value))
