"""What a topology that watches itself needs of `inv`: the exporter's role, and what only `inv` can say in metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import STATE
from letta_stack.secrets import monitoring as secrets
from letta_stack.topology.catalogue import DASHBOARD, DATABASE, MIGRATION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.protocol import Published, State

DIRECTORY_VARIABLE = "LETTA_STACK_METRICS_DIR"
BACKUP = "letta_backup_last_success_timestamp_seconds"
MIGRATED = "letta_migration_success"
ROLE = "/docker-entrypoint-initdb.d/monitor.sql"


def directory(project: str) -> Path:
    """Return where a project's metrics are for the host's exporter."""
    return STATE / project / "metrics"


def prepare(project: Project) -> dict[str, str]:
    """Make the directory that the host's exporter reads; return the variable by which compose finds it."""
    made = directory(project.name)
    made.mkdir(mode=0o755, parents=True, exist_ok=True)
    made.chmod(0o755)
    return {DIRECTORY_VARIABLE: str(made)}


def gauge(project: str, name: str, value: float) -> None:
    """Say something in a metric, in a project that is watched; another one has nobody to read it."""
    target = directory(project) / f"{name}.prom"
    if not target.parent.is_dir():
        return
    temporary = target.with_suffix(".tmp")
    temporary.write_text(f"# TYPE {name} gauge\n{name} {value:.0f}\n", encoding="ascii")
    temporary.chmod(0o644)
    temporary.replace(target)


def backed_up(project: str) -> None:
    """Say that a backup was made just now."""
    gauge(project, BACKUP, time.time())


def migrated(project: str, states: Sequence[State]) -> None:
    """Say how the last migration ended, if it has."""
    for state in states:
        if state.service == MIGRATION.name and (state.ended_well or state.failed):
            gauge(project, MIGRATED, float(state.ended_well))


def teach(project: Project) -> None:
    """Make the exporter's role in PostgreSQL with its present password: older data has none."""
    states = project.runner.states()
    container = next(state.container for state in states if state.service == DATABASE.name)
    psql = ["psql", "-U", "postgres", "-d", "letta", "-q", "-v", "ON_ERROR_STOP=1", "-f", ROLE]
    process.capture(["docker", "exec", container, *psql])


def dashboards(project: Project, ports: Sequence[Published]) -> str:
    """Say where the dashboards are, and how to get in."""
    address = next(port for port in ports if port.service == DASHBOARD.name)
    return (
        f"the dashboards are at {address.url}\n"
        f"  user:     {secrets.DASHBOARD_USER}\n"
        f"  password: inv secrets.show {secrets.DASHBOARD} {project.flags}"
    )
