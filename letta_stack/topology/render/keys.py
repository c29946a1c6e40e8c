"""Which keys of a compose model an engine can express. What it cannot is listed, and a key that nobody has thought of is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from letta_stack.errors import NotExpressible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXPRESSED = ""
"""In the place of the reason why an engine does not express a key."""

# Below these a key is a name that the user chose, not a word of compose.
NAMES = re.compile(
    r"services|networks|volumes|secrets|services\.\*\.(environment|networks|depends_on|labels)"
)

# Expressed by every engine; a whole branch where nothing below has an entry of its own.
COMMON = dict.fromkeys(
    (
        "name",
        "networks.*.internal",
        "networks.*.name",
        "secrets.*.file",
        "secrets.*.name",
        "services.*.cap_drop",
        "services.*.command",
        "services.*.deploy.replicas",
        "services.*.deploy.resources.limits.cpus",
        "services.*.deploy.resources.limits.memory",
        "services.*.deploy.resources.reservations.cpus",
        "services.*.deploy.resources.reservations.memory",
        "services.*.entrypoint",
        "services.*.environment.*",
        "services.*.healthcheck.disable",
        "services.*.healthcheck.interval",
        "services.*.healthcheck.retries",
        "services.*.healthcheck.start_interval",
        "services.*.healthcheck.start_period",
        "services.*.healthcheck.test",
        "services.*.healthcheck.timeout",
        "services.*.image",
        "services.*.init",
        "services.*.ports[].target",
        "services.*.read_only",
        "services.*.restart",
        "services.*.secrets[].source",
        "services.*.secrets[].target",
        "services.*.stop_grace_period",
        "services.*.user",
        "services.*.volumes[].source",
        "services.*.volumes[].target",
        "services.*.volumes[].type",
        "volumes.*.name",
    ),
    EXPRESSED,
)


def check(model: Mapping[str, Any], table: Mapping[str, str]) -> list[str]:
    """Return what of a model an engine does not express, a line each.

    Args:
        model: what `docker compose config` writes.
        table: what the engine makes of each key: ``EXPRESSED``, or the reason why it makes nothing of it.

    Raises:
        NotExpressible: a key is not in the table.

    """
    notes = []
    for path, pattern in leaves(model, table):
        if pattern not in table:
            raise NotExpressible(
                f"{path} of the compose model is nothing that this engine's form has a place for; take it out of your "
                "override file, or give it an entry in letta_stack/topology/render"
            )
        if reason := table[pattern]:
            notes.append(f"{path}: {reason}")
    return notes


def leaves(
    node: Any, table: Mapping[str, str], path: str = "", pattern: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield path and pattern of every value that says something: of a branch that the table knows, or else of its ends."""
    if node is None or node in ({}, []):
        return
    if pattern in table:
        yield path, pattern
    elif isinstance(node, dict):
        if pattern.startswith("x-") or ".x-" in pattern:
            return  # compose's own words for "nobody reads this"
        for key, value in sorted(node.items()):
            word = "*" if NAMES.fullmatch(pattern) else key
            # A name without a value, as a variable that is not set or a network without settings.
            yield from leaves(value, table, _join(path, key), _join(pattern, word))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from leaves(value, table, f"{path}[{number}]", f"{pattern}[]")
    else:
        yield path, pattern


def _join(left: str, right: str) -> str:
    return f"{left}.{right}" if left else right
