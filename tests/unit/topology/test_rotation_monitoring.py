"""The passwords of what watches: who is restarted, in which order, and what PostgreSQL and nginx get to know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import BadValue
from letta_stack.secrets import monitoring, scram
from letta_stack.secrets.store import NEW, OLD
from letta_stack.topology import rotation, secret_files
from letta_stack.topology.project import Project
from letta_stack.topology.runners.protocol import State
from tests.support.rotated import LONG_AGO, PROD, REPLICAS, Engine, Killed

if TYPE_CHECKING:
    from collections.abc import Callable

WATCHED = Project.of("observability", project="mine")
OTHERS = (
    *("letta-clickhouse", "letta-collector", "letta-prometheus"),
    *("letta-dashboard", "letta-postgres-exporter"),
)
RESTARTED = {
    monitoring.MONITOR: ["mine-letta-postgres-exporter-1"],
    monitoring.CLICKHOUSE: [
        *("mine-letta-clickhouse-1", "mine-letta-collector-1", "mine-letta-prometheus-1"),
        *REPLICAS,
    ],
    monitoring.DASHBOARD: ["mine-letta-dashboard-1"],
}
MONITOR_SQL = re.compile(r"ALTER ROLE letta_monitor PASSWORD '(\S+)';\n")


@pytest.fixture
def restarted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the services of `observability`, too; return which are restarted."""
    monitoring.ensure(engine.files)
    names: list[str] = []
    states, execute = engine.states, engine.execute
    engine.started |= {f"mine-{name}-1": LONG_AGO for name in OTHERS}

    def watched(argv: list[str], stdin: str) -> str:
        names.extend(argv[2:] if argv[1] == "restart" else [])
        return execute(argv, stdin)

    monkeypatch.setattr(engine, "execute", watched)
    more = [State(name, f"mine-{name}-1", "running", "healthy", 0) for name in OTHERS]
    monkeypatch.setattr(engine, "states", lambda: states() + more)
    return names


@pytest.mark.parametrize("name", monitoring.NAMES)
def test_a_new_password_reaches_all_who_read_it_and_nobody_else(
    name: str, engine: Engine, restarted: list[str]
) -> None:
    before = {one: engine.files.read(one) for one in monitoring.NAMES}

    rotation.rotate(WATCHED, name)

    assert {one for one in before if engine.files.read(one) != before[one]} == {name}
    assert restarted == RESTARTED[name]
    assert not engine.files.path(name + NEW).exists()
    assert not engine.files.path(name + OLD).exists()


def test_what_is_made_of_a_password_follows(engine: Engine, restarted: list[str]) -> None:
    files = engine.files
    for name in (monitoring.CLICKHOUSE, monitoring.DASHBOARD):
        rotation.rotate(WATCHED, name)

    assert files.read(monitoring.CLICKHOUSE_LOGIN) == files.read(monitoring.CLICKHOUSE)
    users = files.read(monitoring.DASHBOARD_USERS)
    assert users == f"letta:{monitoring.hashed(files.read(monitoring.DASHBOARD))}"


def test_postgresql_learns_the_exporters_password_as_a_hash(
    engine: Engine, restarted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[str] = []
    execute = engine.execute

    def watched(argv: list[str], stdin: str) -> str:
        taught.extend(MONITOR_SQL.findall(stdin))
        return execute(argv, stdin)

    monkeypatch.setattr(engine, "execute", watched)

    rotation.rotate(WATCHED, monitoring.MONITOR)

    (verifier,) = taught
    password = engine.files.read(monitoring.MONITOR)
    assert scram.matches(password, verifier)
    # A new container of PostgreSQL gets the same.
    (kept,) = MONITOR_SQL.findall(engine.files.read(monitoring.MONITOR_LOGIN) + "\n")
    assert scram.matches(password, kept)


@pytest.mark.parametrize("name", monitoring.NAMES)
@pytest.mark.parametrize("call", range(1, 8))
def test_killed_anywhere_it_is_told_and_can_be_finished(
    name: str, call: int, engine: Engine, restarted: list[str]
) -> None:
    engine.kill_after = call
    try:
        rotation.rotate(WATCHED, name)
    except Killed:
        assert secret_files.unfinished(WATCHED, engine.files) == [name]
        monitoring.ensure(engine.files)
        rotation.rotate(WATCHED, name)

    assert list(dict.fromkeys(restarted)) == RESTARTED[name]
    assert secret_files.unfinished(WATCHED, engine.files) == []


@pytest.mark.parametrize("rotate", [rotation.rotate, secret_files.show])
def test_prod_has_none_of_them(rotate: Callable[[Project, str], None], engine: Engine) -> None:
    with pytest.raises(BadValue, match="there is no secret 'dashboard-password'"):
        rotate(PROD, monitoring.DASHBOARD)
