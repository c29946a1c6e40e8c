"""What a topology that watches itself needs of `inv`: the exporter's role, and the directory of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.secrets import monitoring as secrets
from letta_stack.topology import leader, metrics
from letta_stack.topology.catalogue import DASHBOARD, MIGRATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.protocol import Published, State

DIRECTORY_VARIABLE = "LETTA_STACK_METRICS_DIR"
ROLE = "/docker-entrypoint-initdb.d/monitor.sql"


def prepare(project: Project) -> dict[str, str]:
    """Make the directory that the host's exporter reads; return the variable by which compose finds it."""
    made = metrics.directory(project.name)
    made.mkdir(mode=0o755, parents=True, exist_ok=True)
    made.chmod(0o755)
    return {DIRECTORY_VARIABLE: str(made)}


def migrated(project: str, states: Sequence[State]) -> None:
    """Say how the last migration ended, if it has."""
    for state in states:
        if state.service == MIGRATION.name and (state.ended_well or state.failed):
            metrics.gauge(project, metrics.MIGRATED, float(state.ended_well))


def teach(project: Project) -> None:
    """Make the exporter's role in PostgreSQL with its present password: older data has none."""
    container = leader.database(project)
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
