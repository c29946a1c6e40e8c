"""The secret files of a project, as `inv up` and `inv secrets` show them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import BadValue, SecretsLost
from letta_stack.secrets import kinds, store
from letta_stack.secrets.store import NEW, OLD, Store
from letta_stack.topology import secret_files
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose

if TYPE_CHECKING:
    from pathlib import Path

PROD = Project.of("prod", project="mine")


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The volumes of the project: none, until a test names one."""
    found: list[str] = []
    monkeypatch.setattr(store, "SECRETS", tmp_path)
    monkeypatch.setattr(Compose, "volumes", lambda _: found)
    return found


def test_the_first_start_makes_them_and_compose_finds_them(
    volumes: list[str], tmp_path: Path
) -> None:
    variables = secret_files.prepare(PROD)

    assert variables["LETTA_STACK_SECRETS"] == str(tmp_path / "mine")
    assert {*kinds.NAMES} < {path.name for path in (tmp_path / "mine").iterdir()}


def test_a_topology_that_watches_itself_has_more_of_them(
    volumes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Project.of("observability", project="mine")
    others = set(secret_files.names(watched)) - {*kinds.NAMES}
    assert others

    secret_files.prepare(watched)

    assert others < {path.name for path in (tmp_path / "mine").iterdir()}
    for name in others:
        secret_files.show(watched, name)
        with pytest.raises(BadValue):
            secret_files.show(PROD, name)
    assert len(capsys.readouterr().out.splitlines()) == len(others)


def test_lost_files_are_not_made_anew_for_a_database_that_has_data(volumes: list[str]) -> None:
    volumes += ["mine_db"]

    with pytest.raises(SecretsLost, match="the volume mine_db has data"):
        secret_files.prepare(PROD)


def test_another_volume_is_no_database(volumes: list[str]) -> None:
    volumes += ["mine_letta", "db"]

    secret_files.prepare(PROD)


@pytest.mark.parametrize("suffix", [NEW, OLD])
def test_a_rotation_that_was_interrupted_is_told(
    suffix: str, volumes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    secret_files.prepare(PROD)
    assert capsys.readouterr().err == ""
    mine = Store.of("mine")
    mine.path(kinds.REDIS + suffix).write_text(mine.read(kinds.REDIS))

    secret_files.prepare(PROD)

    assert capsys.readouterr().err == (
        "the rotation of redis-password was interrupted; finish it: inv secrets.rotate redis-password "
        "--env prod --project mine\n"
    )
    assert secret_files.unfinished(PROD, mine) == [kinds.REDIS]


def test_an_unknown_name_is_answered_with_those_that_the_topology_has() -> None:
    with pytest.raises(BadValue, match=r"'database'; use one of: database-uri, .*encryption-key$"):
        secret_files.check_name(PROD, "database")
    watched = Project.of("observability", project="mine")
    with pytest.raises(BadValue, match=r"encryption-key, monitor-password, .*dashboard-password$"):
        secret_files.check_name(watched, "database")
    assert secret_files.check_name(watched, "dashboard-password") == "dashboard-password"


@pytest.mark.usefixtures("elsewhere")
def test_the_list_has_age_file_and_state_of_each(
    volumes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret_files.show_all(PROD)
    assert [line.split("  ")[-1].strip() for line in capsys.readouterr().out.splitlines()] == [
        "not made yet; `inv up --env prod --project mine` makes it"
    ] * len(kinds.NAMES)

    secret_files.prepare(PROD)
    os.utime(tmp_path / "mine" / kinds.SERVER, (0, 0))
    (tmp_path / "mine" / f"{kinds.SERVER}{NEW}").touch()
    secret_files.show_all(PROD)

    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == list(kinds.NAMES)
    assert lines[kinds.SERVER] == (
        f"server-password      1970-01-01 00:00 UTC  {tmp_path}/mine/server-password"
        "  rotation not finished"
    )
    assert lines[kinds.REDIS].endswith(f"UTC  {tmp_path}/mine/redis-password")


def test_one_is_shown_by_name(volumes: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    secret_files.prepare(PROD)

    secret_files.show(PROD, kinds.SERVER)

    assert capsys.readouterr().out == f"{Store.of('mine').read(kinds.SERVER)}\n"


def test_a_model_without_a_list_takes_everything() -> None:
    secret_files.single_source({"services": {}})
