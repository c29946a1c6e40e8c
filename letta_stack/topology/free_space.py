"""Lets the server of a stack ask PostgreSQL how much disk is free: data of an earlier version have no view for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import console, process
from letta_stack.base.paths import ROOT
from letta_stack.topology import leader

if TYPE_CHECKING:
    from letta_stack.topology.project import Project

SCRIPT = ROOT / "rootfs/docker-entrypoint-initdb.d/disk.sql"
PSQL = 'exec psql -U "$POSTGRES_USER" -d postgres -q -o /dev/null -v ON_ERROR_STOP=1'
QUIETLY = "--env=PGOPTIONS=-c client_min_messages=warning"


def teach(project: Project) -> None:
    """Make the view, or leave it as it is. Without it everything works but the reserve, so a failure is a warning."""
    container = leader.database(project)
    if not container:
        return
    command = ["docker", "exec", "--interactive", QUIETLY, container, "sh", "-c", PSQL]
    made = process.probe(command, stdin=SCRIPT.read_text(encoding="utf-8"))
    if not made.ok:
        console.say(
            f"warning: {project.name} has no reserve on the database's disk: {made.stderr.strip()}"
        )
