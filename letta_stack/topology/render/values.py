"""Reads the values of a compose model: durations, users, words with dollar signs."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from letta_stack.errors import NotExpressible
from letta_stack.policy.rules import NO_SECRET, PASSWORD_IN_URL, SECRET_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001, "µs": 0.000001}
NUMBER = re.compile(r"\d+")
NOTHING = re.compile(r"(?!)")
TMPFS = {
    "uid": NUMBER,  # on a cluster everybody in the container may write there
    "gid": NUMBER,
    "mode": re.compile("1777"),
    "exec": re.compile(""),
    "size": re.compile("[0-9]+[kmg]?"),
}
PART = re.compile(r"([0-9.]+)(h|ms|us|µs|m|s)")


def seconds(text: str) -> int:
    """Return a duration such as 1m30s in whole seconds, at least one: part of a second is a second."""
    return max(
        1, math.ceil(sum(float(number) * UNITS[unit] for number, unit in PART.findall(text)))
    )


def plain(text: str) -> str:
    """Take off the second dollar sign with which compose's output protects the first."""
    return text.replace("$$", "$")


def user(name: str, service: Mapping[str, Any]) -> tuple[int, int]:
    """Return the numbers of user and group; raise ``NotExpressible`` for root and for names."""
    uid, _, gid = str(service.get("user") or "").partition(":")
    if not uid.isdigit() or not (gid or uid).isdigit() or int(uid) == 0:
        raise NotExpressible(
            f"services.{name}.user is {service.get('user')!r}; give the number of a user other than root"
        )
    return int(uid), int(gid or uid)


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that are set and say nothing secret."""
    return {name: text for name, text in _set(service).items() if not is_secret(name, text)}


def secret_environment(service: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables whose values no manifest may show: keys of model providers, from .env or the shell."""
    return {name: text for name, text in _set(service).items() if is_secret(name, text)}


def is_secret(name: str, text: str) -> bool:
    """Say whether a variable is what the policy calls a secret."""
    if not text or NO_SECRET.search(name):
        return False
    return bool(SECRET_NAME.search(name) or PASSWORD_IN_URL.match(text))


def _set(service: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: plain(str(value))
        for name, value in sorted((service.get("environment") or {}).items())
        if value is not None
    }


def tmpfs(entry: str) -> tuple[str, dict[str, str]]:
    """Return path and options of a compose tmpfs such as `/run:uid=1,exec`; raise ``NotExpressible`` for other options."""
    path, _, text = entry.partition(":")
    options = {
        name: value for name, _, value in (one.partition("=") for one in text.split(",") if one)
    }
    for name, value in options.items():
        if not TMPFS.get(name, NOTHING).fullmatch(value):
            known = ", ".join(TMPFS)
            raise NotExpressible(f"the tmpfs {entry} has {name}={value}; what is known is {known}")
    return path, options
