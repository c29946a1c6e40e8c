"""A database of several members as a choice: who may choose it, what it refuses, what stays of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.certs import store as certificates
from letta_stack.errors import (
    BadSettings,
    BadValue,
    NoLeader,
    NotWithMembers,
    OtherDatabase,
    SecretsLost,
)
from letta_stack.image import on_postgres
from letta_stack.secrets import members as secrets
from letta_stack.secrets import store
from letta_stack.secrets.store import Store
from letta_stack.topology import archive, leader, lifecycle, members
from letta_stack.topology.catalogue import DATABASE, ETCD, MEMBERS, PROXY, find
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ONE = "mine_db"
SEVERAL = ["mine_db-1", "mine_db-2", "mine_db-3"]


def chosen() -> Project:
    return Project.of("prod", project="mine", database="ha")


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(Compose, "volumes", lambda _: found)
    return found


@pytest.mark.parametrize("env", ["prod", "observability"])
def test_the_choice_replaces_one_service_by_several_and_reaches_compose(env: str) -> None:
    project = Project.of(env, project="mine", database="ha")

    added = {one.name for one in (*MEMBERS, *ETCD)}
    assert set(project.topology.names) == {*find(env).names, *added}
    assert project.topology.members == ("letta-db-1", "letta-db-2", "letta-db-3")
    assert PROXY in project.topology.services
    assert DATABASE not in project.topology.services
    assert {"HAPROXY_IMAGE", "POSTGRES_IMAGE"} < set(project.topology.images)
    assert project.variables[members.VARIABLE] == "ha"
    assert project.expected["letta-db-2"] == 1


def test_without_it_nothing_is_different() -> None:
    project = Project.of("prod", project="mine")

    assert project.topology == find("prod")
    assert members.VARIABLE not in project.variables


def test_the_shell_and_an_earlier_start_choose_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    members.path("earlier").parent.mkdir(parents=True)
    members.path("earlier").write_text("ha\n")

    assert Project.of("prod", project="earlier").topology.members
    assert not Project.of("prod", project="mine").topology.members
    monkeypatch.setenv(members.VARIABLE, "ha")
    assert Project.of("prod", project="mine").topology.members


@pytest.mark.parametrize(
    ("env", "database", "said"),
    [
        ("prod", "postgres", "--database 'postgres' is no database of prod; use ha"),
        ("single", "ha", "--database: single has no choice of databases; use --env prod"),
        ("dev", "ha", "--database: dev"),
    ],
)
def test_what_is_no_choice_is_refused(env: str, database: str, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        Project.of(env, database=database)


def test_a_setting_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(members.VARIABLE, "yes")

    with pytest.raises(BadValue, match="LETTA_STACK_DATABASE 'yes'"):
        Project.of("prod")


def test_data_of_one_postgresql_are_not_left_behind(volumes: list[str]) -> None:
    volumes.append(ONE)

    with pytest.raises(OtherDatabase, match="mine has its data in mine_db, which --database ha"):
        members.check(chosen())
    members.check(Project.of("prod", project="mine"))


def test_data_of_several_members_are_not_left_behind(volumes: list[str]) -> None:
    volumes += SEVERAL

    with pytest.raises(OtherDatabase, match=r"data in mine_db-1, .*: add --database ha"):
        members.check(Project.of("prod", project="mine"))
    members.check(chosen())


def test_those_of_another_project_are_no_reason(volumes: list[str]) -> None:
    volumes += [f"other_{one}" for one in (members.ONE_VOLUME, *members.VOLUMES)]

    members.check(chosen())
    members.check(Project.of("prod", project="mine"))


@pytest.mark.usefixtures("volumes")
def test_an_archive_and_tls_inside_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(NotWithMembers, match="LETTA_STACK_PITR=on archives what one PostgreSQL"):
        members.check(chosen().with_variables({archive.VARIABLE: archive.ON}))

    monkeypatch.setattr(certificates, "has_internal", lambda _: True)
    with pytest.raises(NotWithMembers, match="TLS between server and PostgreSQL"):
        members.check(chosen())


@pytest.mark.usefixtures("volumes")
def test_a_setting_of_the_archive_that_is_none_keeps_its_own_error() -> None:
    with pytest.raises(BadSettings, match="write LETTA_STACK_PITR=on"):
        members.check(chosen().with_variables({archive.VARIABLE: "yes"}))


def test_the_choice_lasts_until_the_data_are_deleted(
    volumes: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(store, "SECRETS", tmp_path)
    (tmp_path / "mine").mkdir(mode=0o700)
    monkeypatch.setattr(Compose, "down", lambda *_, **__: None)

    members.prepare(chosen())
    again = Project.of("prod", project="mine")
    lifecycle.down(again, volumes=False, yes=True)
    kept = Project.of("prod", project="mine")
    volumes.clear()
    lifecycle.down(kept, volumes=True, yes=True)

    assert again.topology.members
    assert kept.topology.members
    assert not Project.of("prod", project="mine").topology.members


def test_passwords_are_made_once_and_reach_patroni_alone(tmp_path: Path) -> None:
    mine = Store(tmp_path)
    tmp_path.chmod(0o700)

    secrets.ensure(mine, data="")
    first = json.loads(mine.path(secrets.CONFIGURATION).read_text())
    secrets.ensure(mine, data="mine_db-1")

    assert json.loads(mine.path(secrets.CONFIGURATION).read_text()) == first
    roles = first["postgresql"]["authentication"]
    passwords = {one["password"] for one in (*roles.values(), first["restapi"]["authentication"])}
    assert len(passwords) == 3
    assert passwords == {mine.read(name) for name in secrets.NAMES}
    assert {mine.path(name).stat().st_mode & 0o777 for name in secrets.NAMES} == {0o600}


def test_lost_passwords_of_data_are_not_replaced(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    secrets.ensure(Store(tmp_path), data="")
    (tmp_path / secrets.REWIND).unlink()

    with pytest.raises(SecretsLost, match=r"mine_db-1 has data, but .* lacks rewind-password:"):
        secrets.ensure(Store(tmp_path), data="mine_db-1")


def member(number: int, state: str = "running") -> State:
    return State(f"letta-db-{number}", f"mine-letta-db-{number}-1", state, "healthy", 0)


class Engine:
    """Members of which some say that they lead."""

    def __init__(self, states: Sequence[State], leads: Sequence[str]) -> None:
        self.states, self.leads = list(states), list(leads)
        self.asked: list[str] = []

    def probe(self, command: Sequence[str]) -> Completed:
        self.asked.append(command[2])
        assert command[-1] == "/primary"
        return Completed(0 if command[2] in self.leads else 1, "", "")


def engine(monkeypatch: pytest.MonkeyPatch, states: Sequence[State], *leads: str) -> Engine:
    found = Engine(states, leads)
    monkeypatch.setattr(Compose, "states", lambda _: found.states)
    monkeypatch.setattr(process, "probe", found.probe)
    monkeypatch.setattr(leader, "ELECTED_SECONDS", 0.1)
    return found


def test_the_database_is_where_the_leader_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = engine(monkeypatch, [member(1), member(2), member(3, "paused")], "mine-letta-db-2-1")

    assert leader.database(chosen()) == "mine-letta-db-2-1"
    assert found.asked == ["mine-letta-db-1-1", "mine-letta-db-2-1"]


def test_one_postgresql_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    one = State("letta-db", "mine-letta-db-1", "running", "healthy", 0)
    found = engine(monkeypatch, [one])

    assert leader.database(Project.of("prod", project="mine")) == "mine-letta-db-1"
    assert found.asked == []


def test_nobody_who_leads_is_said_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    engine(monkeypatch, [member(1), member(2)])

    with pytest.raises(NoLeader, match="no member of the database of mine leads"):
        leader.database(chosen())


def test_a_database_that_does_not_run_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    engine(monkeypatch, [member(1, "exited")])

    assert leader.database(chosen()) == ""


def test_patroni_is_added_under_a_name_of_its_own() -> None:
    first = on_postgres.tag(on_postgres.PATRONI, "of/hub:1")

    assert first.startswith("letta-stack/patroni:")
    assert first != on_postgres.tag(on_postgres.PATRONI, "of/debian:1")
