"""The passwords with which the members of a database know each other, beside the server's secrets in `.secrets/<project>/`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from letta_stack.errors import SecretsLost
from letta_stack.secrets import kinds

if TYPE_CHECKING:
    from letta_stack.secrets.store import Store

REPLICATION = "replication-password"
REWIND = "rewind-password"
CONTROL = "patroni-password"
NAMES = (REPLICATION, REWIND, CONTROL)
CONFIGURATION = "patroni.yml"


def ensure(store: Store, *, data: str) -> None:
    """Make the passwords and Patroni's file with them, or check them.

    ``data`` names a volume with data that were made with them, "" if there is none yet. Raises SecretsLost, SecretsExposed,
    BadSecret.
    """
    missing = [name for name in NAMES if not store.path(name).exists()]
    if missing and data:
        raise SecretsLost(
            f"the volume {data} has data, but {store.directory} lacks {', '.join(missing)}: restore the directory from your "
            "backup, or see docs/topologies/ha.md, 'When a password is lost'"
        )
    for name in missing:
        store.write(name, kinds.new(name))
    for name in NAMES:
        store.check_private(name)
        kinds.check(name, store.read(name))
    # For PostgreSQL's user, who cannot read the owner's files. The directory keeps everybody else out.
    store.publish(CONFIGURATION, configuration({name: store.read(name) for name in NAMES}))


def configuration(values: dict[str, str]) -> str:
    """Return the part of Patroni's configuration that is secret. JSON, which is YAML as well."""
    roles = {
        "replication": {"username": "letta_replication", "password": values[REPLICATION]},
        "rewind": {"username": "letta_rewind", "password": values[REWIND]},
    }
    control = {"username": "letta", "password": values[CONTROL]}
    return json.dumps(
        {"restapi": {"authentication": control}, "postgresql": {"authentication": roles}}, indent=1
    )
