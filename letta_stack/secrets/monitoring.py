"""The secrets of the services that watch: passwords of the exporter, of ClickHouse and of the dashboards, and the alerts' receivers.

Beside those of the server in `.secrets/<project>/`. None of them protects data that would be lost with it, so a missing
one is made anew; what its users get to know follows at the next `inv up`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING

from letta_stack.secrets import kinds, receivers, scram

if TYPE_CHECKING:
    from letta_stack.secrets.store import Store

MONITOR = "monitor-password"
CLICKHOUSE = "clickhouse-password"
DASHBOARD = "dashboard-password"
NAMES = (MONITOR, CLICKHOUSE, DASHBOARD)

MONITOR_LOGIN = "monitor-login.sql"
CLICKHOUSE_LOGIN = "clickhouse-login"
DASHBOARD_USERS = "dashboard-users"
ALERTMANAGER = "alertmanager.yml"
DASHBOARD_USER = "letta"
_VERIFIER = re.compile(r"'(SCRAM[^']*)'")
_SALT_BYTES = 8


def ensure(store: Store) -> None:
    """Make what is missing and check what is there, after the server's own secrets.

    Raises SecretsExposed, BadSecret, and BadValue for a receiver that cannot be one.
    """
    for name in NAMES:
        if not store.path(name).exists():
            store.write(name, kinds.new(name))
        store.check_private(name)
        kinds.check(name, store.read(name))
    given = {}
    for name in receivers.NAMES:
        if store.path(name).exists():
            store.check_private(name)
            given[name] = store.read(name)
    # For services with users of their own, which cannot read the owner's files. The directory keeps everybody else out.
    texts = {
        MONITOR_LOGIN: _login(store),
        CLICKHOUSE_LOGIN: store.read(CLICKHOUSE) + "\n",
        DASHBOARD_USERS: f"{DASHBOARD_USER}:{hashed(store.read(DASHBOARD))}\n",
        ALERTMANAGER: json.dumps(receivers.configuration(given), indent=2) + "\n",
    }
    for name, text in texts.items():
        store.publish(name, text)


def hashed(password: str) -> str:
    """Return what nginx compares a password with. The same each time, so that the file stays as it is."""
    salt = hashlib.sha256(b"salt of " + password.encode("ascii")).digest()[:_SALT_BYTES]
    # The scheme is nginx's (RFC 2307). The password is random and long: nothing could be guessed from any hash of it.
    digest = hashlib.sha1(password.encode("ascii") + salt, usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode("ascii")


def _login(store: Store) -> str:
    """Write the statement that gives the exporter's role its password, as a hash; an own salt only for a new password."""
    path, password = store.path(MONITOR_LOGIN), store.read(MONITOR)
    if path.exists():
        text = path.read_text("ascii")
        known = _VERIFIER.search(text)
        if known and scram.matches(password, known[1]):
            return text
    return f"ALTER ROLE letta_monitor PASSWORD '{scram.verifier(password)}';\n"
