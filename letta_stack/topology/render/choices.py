"""The flags with which an operator chooses what a cluster gets, checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from letta_stack.errors import BadValue
from letta_stack.pins.file import Pins
from letta_stack.topology.project import MOST_REPLICAS
from letta_stack.topology.render.kubernetes import options as kubernetes_options
from letta_stack.topology.render.swarm import stack

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = re.compile(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?")
"""A namespace, and the beginning of a stack's names, of which none has more than 64 characters."""
OBJECT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
HOST = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?")
GATEWAY = re.compile(rf"({OBJECT.pattern}/)?{OBJECT.pattern}")
REPLICAS = 2  # unless the operator says another number: one of them may always be missing

TAKES = {
    "kubernetes": frozenset(
        {
            "context",
            "database",
            "gateway",
            "host",
            "ingress_class",
            "max_replicas",
            "replicas",
            "secret",
            "storage_class",
            "tls_secret",
        }
    ),
    "swarm": frozenset({"encrypted", "replicas"}),
}
"""The flags, by the name of their parameter, that a cluster's topology takes."""


def kubernetes(name: str, given: Mapping[str, str]) -> kubernetes_options.Options:
    """Return the choices for a namespace; ``given`` is by the name of the flag's parameter. Raises ``BadValue``."""
    _refuse_others("kubernetes", given)
    replicas = _replicas(given)
    most = _count("--max-replicas", given["max_replicas"]) if given.get("max_replicas") else 0
    if most and most < replicas:
        raise BadValue(f"--max-replicas {most} is less than --replicas {replicas}")
    database = given.get("database") or kubernetes_options.EXTERNAL
    if database not in kubernetes_options.DATABASES:
        known = " or ".join(kubernetes_options.DATABASES)
        raise BadValue(f"--database {database!r} is unknown; use {known}")
    host, gateway = given.get("host", ""), given.get("gateway", "")
    for flag in ("gateway", "ingress_class", "tls_secret"):
        if given.get(flag) and not host:
            raise BadValue(f"{_flag(flag)} publishes nothing without a name; add --host")
    usual = kubernetes_options.Options(name)
    return kubernetes_options.Options(
        namespace=_matching("--project", name, NAME),
        replicas=replicas,
        most=most,
        database=database,
        database_image=Pins.load()["CNPG_POSTGRES"],
        host=_matching("--host", host, HOST),
        ingress_class=_matching("--ingress-class", given.get("ingress_class", ""), OBJECT)
        or usual.ingress_class,
        gateway=_matching("--gateway", gateway, GATEWAY),
        tls_secret=_matching("--tls-secret", given.get("tls_secret", ""), OBJECT),
        secret=_matching("--secret", given.get("secret", ""), OBJECT) or usual.secret,
        storage_class=_matching("--storage-class", given.get("storage_class", ""), OBJECT),
    )


def swarm(name: str, given: Mapping[str, str]) -> stack.Options:
    """Return the choices for a stack; ``given`` is by the name of the flag's parameter. Raises ``BadValue``."""
    _refuse_others("swarm", given)
    return stack.Options(
        name=_matching("--project", name, NAME),
        replicas=_replicas(given),
        encrypted=bool(given.get("encrypted")),
    )


def _refuse_others(env: str, given: Mapping[str, str]) -> None:
    for name, text in given.items():
        if text and name not in TAKES[env]:
            known = ", ".join(sorted(map(_flag, TAKES[env])))
            raise BadValue(f"{_flag(name)}: --env {env} does not take it; it takes {known}")


def _replicas(given: Mapping[str, str]) -> int:
    return _count("--replicas", given["replicas"]) if given.get("replicas") else REPLICAS


def _count(flag: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= MOST_REPLICAS:
        raise BadValue(
            f"{flag} {text!r} is not a number of servers; give one from 1 to {MOST_REPLICAS}"
        )
    return int(text)


def _matching(flag: str, text: str, pattern: re.Pattern[str]) -> str:
    if text and not pattern.fullmatch(text):
        raise BadValue(
            f"{flag} {text!r} is no name that a cluster takes; use small letters, digits and -"
        )
    return text


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
