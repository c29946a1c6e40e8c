"""From the container's environment to settings: pure functions on mappings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import BadSecretFile, BadSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Environment = dict[str, str]

_SECRET = re.compile(
    r"^(LETTA_PG_(URI|DB|USER|PASSWORD|HOST|PORT)"
    r"|LETTA_ENCRYPTION_KEY|LETTA_SERVER_PASSWORD"
    r"|[A-Z0-9_]+_(API_KEY|PASSWORD|INGESTION_KEY|ACCESS_KEY|ACCESS_KEY_ID|TOKEN|TOKEN_ID|TOKEN_SECRET)"
    r"|SENTRY_DSN)$"
)
"""Variables that may come from a file. Not every name that ends in _FILE: SSL_CERT_FILE and friends mean the file."""

_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+:\d+")
_USER = re.compile(r"[1-9][0-9]{0,8}:[1-9][0-9]{0,8}")
_TRUE = frozenset({"true", "1", "yes", "on"})
OFF = frozenset({"false", "0", "no", "off"})


def drop_empty(environment: Mapping[str, str]) -> Environment:
    """Return the variables that have a value.

    Compose writes ``X=`` for a variable that nobody set; the server's typed settings stop at an empty string.
    """
    return {name: value for name, value in environment.items() if value}


def drop_service_links(environment: Mapping[str, str]) -> Environment:
    """Return the variables without those that Kubernetes makes for a Service, ``X_PORT=tcp://10.96.0.12:6379``.

    A Service that is called letta-redis would otherwise set the LETTA_REDIS_PORT that nobody wrote.
    """
    return {name: value for name, value in environment.items() if not _is_service_link(name, value)}


def _is_service_link(name: str, value: str) -> bool:
    return name.endswith("_PORT") and _SERVICE_LINK.fullmatch(value) is not None


def resolve_files(environment: Mapping[str, str], read: Callable[[str], str]) -> Environment:
    """Replace ``X_FILE`` by ``X`` with the file's content, without the line end that editors add.

    Raises BadSecretFile, or BadSetting if both forms are given.
    """
    resolved = dict(environment)
    for file_variable in environment:
        variable = file_variable.removesuffix("_FILE")
        if variable == file_variable or not _SECRET.match(variable):
            continue
        path = resolved.pop(file_variable)
        if variable in environment:
            raise BadSetting(f"both {variable} and {file_variable} are set; keep one of them")
        try:
            content = read(path)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise BadSecretFile(
                f"cannot read {path}, which {file_variable} names: {reason}"
            ) from error
        value = content.rstrip("\r\n")
        if not value:
            raise BadSecretFile(f"{path}, which {file_variable} names, is empty")
        resolved[variable] = value
    return resolved


def flag(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Read a switch. Raises BadSetting for anything that is neither yes nor no."""
    value = environment.get(name, "").strip().lower()
    if not value:
        return default
    if value in _TRUE:
        return True
    if value in OFF:
        return False
    raise BadSetting(f"{name} must be true or false, not {environment[name]!r}")


def number(environment: Mapping[str, str], name: str, *, default: int, highest: int) -> int:
    """Read a whole number from 1 to ``highest``. Raises BadSetting."""
    value = environment.get(name, "").strip()
    if not value:
        return default
    if value.isascii() and value.isdigit() and 1 <= int(value) <= highest:
        return int(value)
    raise BadSetting(
        f"{name} must be a whole number from 1 to {highest}, not {environment[name]!r}"
    )


def user(environment: Mapping[str, str], name: str, *, default: str) -> tuple[int, int]:
    """Read a user as UID:GID, neither of them root's. Raises BadSetting."""
    value = environment.get(name, "") or default
    if _USER.fullmatch(value) is None:
        raise BadSetting(f"{name} must be UID:GID, two numbers above 0, not {value!r}")
    uid, _, gid = value.partition(":")
    return int(uid), int(gid)


def port(environment: Mapping[str, str], name: str, *, default: int) -> int:
    """Read a port number. Raises BadSetting."""
    return number(environment, name, default=default, highest=65535)


def wait_timeout(environment: Mapping[str, str]) -> int:
    """Return for how many seconds the start waits for PostgreSQL and Redis. Raises BadSetting."""
    return number(environment, "LETTA_STACK_WAIT_TIMEOUT", default=60, highest=86400)
