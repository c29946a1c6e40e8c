"""What `inv` tells Prometheus, and the operator, of a topology that is watched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.topology import metrics, monitoring
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import Published, State

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(metrics, "STATE", tmp_path)
    return tmp_path


@pytest.fixture
def project(state: Path) -> Project:
    return Project.of("observability", project="mine")


def migration(*, state: str, exit_code: int) -> State:
    return State("letta-migrate", "mine-letta-migrate-1", state, "", exit_code)


def test_the_exporter_reads_a_directory_that_everybody_may_read(
    project: Project, state: Path
) -> None:
    variables = monitoring.prepare(project)

    made = state / "mine/metrics"
    assert variables == {"LETTA_STACK_METRICS_DIR": str(made)}
    assert made.stat().st_mode & 0o777 == 0o755


def test_a_metric_is_written_whole_and_replaces_the_one_before(
    project: Project, state: Path
) -> None:
    monitoring.prepare(project)
    metrics.gauge("mine", "letta_x", 1)
    metrics.gauge("mine", "letta_x", 1764201600.7)

    (file,) = (state / "mine/metrics").iterdir()
    assert file.name == "letta_x.prom"
    assert file.read_text() == "# TYPE letta_x gauge\nletta_x 1764201601\n"
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_project_that_nobody_watches_gets_no_files(state: Path) -> None:
    metrics.backed_up("mine")

    assert list(state.iterdir()) == []


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (migration(state="exited", exit_code=0), "1"),
        (migration(state="exited", exit_code=75), "0"),
        (migration(state="running", exit_code=0), None),
        (State("letta-server", "x", "exited", "", 1), None),
    ],
)
def test_the_end_of_a_migration_is_told(
    one: State, expected: str | None, project: Project, state: Path
) -> None:
    monitoring.prepare(project)
    monitoring.migrated("mine", [one])

    files = {path.name: path.read_text() for path in (state / "mine/metrics").iterdir()}
    name = metrics.MIGRATED
    text = f"# TYPE {name} gauge\n{name} {expected}\n"
    assert files == ({f"{name}.prom": text} if expected else {})


def test_a_backup_is_told_with_its_time(
    project: Project, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1764201600.2)
    monitoring.prepare(project)

    metrics.backed_up("mine")

    (file,) = (state / "mine/metrics").iterdir()
    assert file.read_text().splitlines()[1] == f"{metrics.BACKUP} 1764201600"


def test_a_directory_that_is_there_is_opened_to_readers(project: Project, state: Path) -> None:
    (state / "mine/metrics").mkdir(parents=True, mode=0o700)

    monitoring.prepare(project)

    assert (state / "mine/metrics").stat().st_mode & 0o777 == 0o755


def test_the_exporters_role_is_made_in_the_running_database(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    states = [
        State("letta-server", "s", "running", "healthy", 0),
        State("letta-db", "mine-letta-db-1", "running", "healthy", 0),
    ]
    monkeypatch.setattr(Compose, "states", lambda _: states)
    monkeypatch.setattr(process, "capture", commands.append)

    monitoring.teach(project)

    psql = ["psql", "-U", "postgres", "-d", "letta", "-q", "-v", "ON_ERROR_STOP=1"]
    file = ["-f", "/docker-entrypoint-initdb.d/monitor.sql"]
    assert commands == [["docker", "exec", "mine-letta-db-1", *psql, *file]]


def test_the_operator_is_told_where_the_dashboards_are(project: Project) -> None:
    ports = [
        Published("letta-nginx", "127.0.0.1", 8283, "http"),
        Published("letta-dashboard", "127.0.0.1", 3001, "http"),
    ]

    text = monitoring.dashboards(project, ports)

    assert text.startswith("the dashboards are at http://localhost:3001\n")
    assert "inv secrets.show dashboard-password --env observability --project mine" in text
