"""What `inv upgrade` would do, what it refuses, and what a killed one leaves for the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.errors import (
    BackupNoRoom,
    BadValue,
    CommandFailed,
    DeployRefused,
    NotConfirmed,
    NotRunning,
    NotSigned,
    SourceNewer,
    SourceUnknown,
    UpgradeFailed,
    UpgradeUnfinished,
)
from letta_stack.operate import deploy, upgrade
from letta_stack.operate.adopt import copied, load, major
from letta_stack.operate.adopt.copied import Looks
from letta_stack.operate.plan import Image, Migration
from letta_stack.operate.upgrade import Order, Step
from letta_stack.topology import as_running, lifecycle, signed, upgrading
from letta_stack.topology.inputs import Data
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State
from letta_stack.topology.upgrading import Unfinished

if TYPE_CHECKING:
    from pathlib import Path

OLD = Image("old", "sha256:" + "a" * 64, "amd64", "0.16.7")
NEW = Image("new", "sha256:" + "b" * 64, "amd64", "0.16.8")
DATA = Data("mine_db", "postgres:15", 15, 15, embedded=False)
KEPT = {"LETTA_STACK_PORT": "9000"}
STEP = Step(OLD, NEW, DATA, "postgres:14", Migration(("c",), ()), "letta")
PROD, SINGLE = Project.of("prod", project="mine"), Project.of("single", project="mine")
BEGUN = Unfinished("mine_db", "mine_before", "postgres:14")


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what is remembered out of the checkout, and let the project run."""
    monkeypatch.setattr(upgrading, "STATE", tmp_path)
    monkeypatch.setattr(major, "STATE", tmp_path)
    running = [State("letta-server", "mine-1", "running", "healthy", 0)]
    monkeypatch.setattr(Compose, "states", lambda _: running)
    monkeypatch.setattr(Compose, "volumes", lambda _: ["mine_db"])
    monkeypatch.setattr(as_running, "keep", lambda one: one.with_variables(KEPT))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what is done to the project."""
    made: list[Any] = []

    def move(*_: object, **given: object) -> str:
        made.append(("move", given))
        return "aside"

    monkeypatch.setattr(deploy, "deploy", lambda _, order: made.append(("deploy", order)))
    monkeypatch.setattr(lifecycle, "up", lambda one, _: made.append(("up", one.variables)))
    monkeypatch.setattr(major, "move", move)
    monkeypatch.setattr(process, "capture", made.append)
    monkeypatch.setattr(Compose, "down", lambda _, *, volumes: made.append(("down", volumes)))
    return made


def looks(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    monkeypatch.setattr(upgrade, "look", lambda *_: step)


def test_replicas_are_replaced_beside_each_other_and_then_the_rest(
    monkeypatch: pytest.MonkeyPatch, calls: list[Any]
) -> None:
    looks(monkeypatch, STEP)

    upgrade.upgrade(PROD, Order(maintenance=True))

    assert calls == [
        ("deploy", deploy.Order(maintenance=True)),
        ("up", KEPT | {"LETTA_STACK_IMAGE": STEP.new.tag}),
    ]


def test_a_dry_run_only_reports(
    monkeypatch: pytest.MonkeyPatch, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    looks(monkeypatch, STEP)

    upgrade.upgrade(PROD, Order(dry_run=True))

    assert calls == []
    assert capsys.readouterr().out.splitlines() == [
        "server      aaaaaaaaaaaa (Letta 0.16.7) -> bbbbbbbbbbbb (Letta 0.16.8)",
        "PostgreSQL  15, data in mine_db",
        "migration   c",
        "way         backup, migration, new replicas beside the old ones (inv deploy), then the other services",
    ]


def test_an_image_that_nobody_signed_is_refused_first(
    monkeypatch: pytest.MonkeyPatch, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    looks(monkeypatch, STEP)
    asked: list[str] = []

    def refuse(_: Project, image: str) -> None:
        asked.append(image)
        raise NotSigned("nobody signed it")

    monkeypatch.setattr(signed, "check", refuse)

    with pytest.raises(NotSigned):
        upgrade.upgrade(PROD, Order(yes=True))

    assert (asked, calls, capsys.readouterr().out) == ([STEP.new.reference], [], "")


def test_another_major_is_a_dump_and_a_restore_once_confirmed(
    monkeypatch: pytest.MonkeyPatch, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    looks(monkeypatch, replace(STEP, data=replace(DATA, major=14), migration=None))
    sources: Any = object()

    with pytest.raises(NotConfirmed):
        upgrade.upgrade(PROD, Order())
    assert calls == []
    upgrade.upgrade(PROD, Order(yes=True), sources)

    given = {"image": "postgres:14", "database": "letta", "sources": sources}
    assert calls == [("move", given)]
    out = capsys.readouterr().out
    assert "PostgreSQL  14 -> 15, data in mine_db" in out
    assert "`docker volume rm aside`" in out


@pytest.mark.parametrize(
    ("change", "reader", "refusal"),
    [
        ({"major": 17}, "x", (SourceNewer, "PostgreSQL 17, and here is 15")),
        ({"major": 14, "embedded": True}, "x", (DeployRefused, "inv adopt --from mine_db")),
        ({"major": 14}, "", (SourceUnknown, "--postgres-image")),
    ],
)
def test_data_that_cannot_be_taken_over_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    calls: list[Any],
    change: dict[str, Any],
    reader: str,
    refusal: tuple[type[Exception], str],
) -> None:
    looks(monkeypatch, replace(STEP, data=replace(DATA, **change), reader=reader))

    with pytest.raises(refusal[0], match=refusal[1]):
        upgrade.upgrade(PROD, Order(yes=True))
    assert calls == []


def test_what_is_not_there_has_nothing_to_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Compose, "states", lambda _: [])
    monkeypatch.setattr(Compose, "volumes", lambda _: [])

    with pytest.raises(NotRunning):
        upgrade.upgrade(PROD, Order())
    with pytest.raises(BadValue):
        upgrade.upgrade(Project.of("services"), Order())


def test_one_server_comes_back_with_the_image_from_before(
    monkeypatch: pytest.MonkeyPatch, calls: list[Any]
) -> None:
    looks(monkeypatch, replace(STEP, migration=None))

    def up(project: Project, _: object) -> None:
        calls.append(dict(project.variables))
        if project.variables == KEPT:
            raise CommandFailed(["docker"], 1, "no such file")

    monkeypatch.setattr(lifecycle, "up", up)

    with pytest.raises(UpgradeFailed, match="no such file; the image from before runs again"):
        upgrade.upgrade(SINGLE, Order())
    assert calls == [
        ["docker", "tag", OLD.digest, OLD.tag],
        KEPT,
        KEPT | {"LETTA_STACK_IMAGE": OLD.tag},
    ]


def test_an_interrupted_one_keeps_inv_up_from_an_empty_database(calls: list[Any]) -> None:
    upgrading.refuse(PROD)
    upgrading.begin("mine", BEGUN)

    assert upgrading.unfinished("mine") == BEGUN
    with pytest.raises(UpgradeUnfinished, match="the volume mine_before"):
        upgrading.refuse(PROD)
    with pytest.raises(UpgradeUnfinished):
        upgrade.upgrade(PROD, Order(dry_run=True))
    assert calls == []


def test_an_interrupted_one_is_undone_before_it_begins_anew(
    monkeypatch: pytest.MonkeyPatch, calls: list[Any]
) -> None:
    looks(monkeypatch, STEP)
    upgrading.begin("mine", BEGUN)

    upgrade.upgrade(PROD, Order())

    kinds = [one[:2] if isinstance(one, list) else one[0] for one in calls]
    assert kinds == ["down", ["docker", "run"], ["docker", "volume"], "deploy", "up"]
    back, removed = calls[1], calls[2]
    assert back[-3:] == ["postgres:14", "-euc", f"{major.EMPTY} && {major.TAKE}"]
    assert "--volume=mine_before:/from:ro" in back
    assert "--volume=mine_db:/to" in back
    assert removed == ["docker", "volume", "rm", "mine_before"]
    assert upgrading.unfinished("mine") is None


def test_three_copies_have_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Looks("/source", 14, 14, 1024 * 100, 1024 * 299, 0, 0)
    monkeypatch.setattr(copied, "look", lambda *_: found)
    sources: Any = None

    with pytest.raises(BackupNoRoom, match="299 MiB free, and the upgrade needs 300"):
        major.move(PROD, DATA, image="postgres:14", database="letta", sources=sources)


def test_settings_of_the_database_go_along_but_for_its_path() -> None:
    settings = [["", "search_path", "letta"], ["", "work_mem", "8MB"], ["old", "work_mem", "1MB"]]

    assert load.kept(settings) == [["", "work_mem", "8MB"]]
