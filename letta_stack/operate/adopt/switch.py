"""Puts a database that was taken over into the place of the present one; back again unless the server then works."""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import AdoptFailed, CommandFailed, LettaStackError
from letta_stack.image import contract
from letta_stack.operate import restore, secrets_bundle
from letta_stack.operate.adopt import facts
from letta_stack.operate.holders.one_host import OneHost
from letta_stack.topology import lifecycle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.operate.postgres import Postgres
    from letta_stack.topology.project import Project

PASSWORD_VARIABLE = "LETTA_SERVER_PASSWORD"  # noqa: S105 - a name
PASSWORD_FILES = ("run/secrets/server-password", "var/lib/letta/secrets/server-password")
# The default organization's are what a request without a user sees.
AGENTS = """
SELECT count(*) FROM agents WHERE NOT is_deleted AND organization_id = 'org-00000000-0000-4000-8000-000000000000'
"""
ASK = """
import json, sys, urllib.request
asked = json.load(sys.stdin)
request = urllib.request.Request(asked["url"], headers={"Authorization": "Bearer " + asked["password"]})
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""


def switch(
    project: Project, target: Postgres, server: str, *, fresh: str, counts: Mapping[str, int]
) -> None:
    """Exchange two databases while no server works, let the server migrate, and prove that it serves what was there.

    ``counts`` are the rows that have to be there afterwards. Raises ``AdoptFailed``; then the present database is in use again.
    """
    old = f"{target.name}_before_{datetime.now(UTC):%Y%m%dt%H%M%Sz}"
    try:
        with OneHost(project).stopped(target):
            restore.swap(target, fresh, old)
        lifecycle.wait_ready(project)
        prove(target, server, counts)
    except (LettaStackError, KeyboardInterrupt) as error:
        undone = f"the database {fresh} stays in use, {old} is the one from before"
        with contextlib.suppress(LettaStackError):
            with OneHost(project).stopped(target):
                restore.swap(target, old, fresh)
            undone = "the database from before is in use again"
            restore.drop(target, fresh)
            lifecycle.wait_ready(project)
        raise AdoptFailed(f"the takeover did not end well ({error}); {undone}") from error
    restore.drop(target, old)


def prove(target: Postgres, server: str, before: Mapping[str, int]) -> None:
    """Raise ``AdoptFailed`` if rows are missing, or if the API does not serve the agents that the database has."""
    now = facts.counts(target, "public")
    # A table that a migration has renamed or merged has no number to compare.
    if lost := {name: now[name] for name in before if now.get(name, before[name]) < before[name]}:
        raise AdoptFailed(f"after the migration there are only {lost} of {dict(before)} rows")
    stored, served = int(target.value(AGENTS)), agents(server)
    if stored != served:
        raise AdoptFailed(f"the API serves {served} agents, and the database has {stored}")


def agents(server: str) -> int:
    """Ask the API of a server's container how many agents there are. Raises ``AdoptFailed``."""
    secrets = secrets_bundle.collect(server)
    files = [secrets.files[name] for name in PASSWORD_FILES if name in secrets.files]
    stored = base64.b64decode(files[0]).decode().strip() if files else ""
    asked = {
        "url": f"http://127.0.0.1:{contract.API_PORT}/v1/agents/count",
        "password": secrets.environment.get(PASSWORD_VARIABLE) or stored,
    }
    command = ["docker", "exec", "--interactive", server, "/usr/bin/python3", "-IS", "-c", ASK]
    try:
        return int(process.capture(command, stdin=json.dumps(asked)))
    except CommandFailed as error:
        raise AdoptFailed(f"the API does not answer: {error.last_line}") from error
