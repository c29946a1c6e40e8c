"""The newest revision, read from the text of the migrations, and who waits until the database is there."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from entrypoint import database, migrate
from entrypoint.errors import MigrationFailed
from entrypoint.migrate import revisions

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = 'revision: str = "aa01"\ndown_revision: Union[str, None] = None\n'
NEXT = "revision = 'bb02'\ndown_revision = 'aa01'\n"


def test_the_newest_revision_is_the_one_that_no_other_builds_on() -> None:
    assert revisions([NEXT, BASE]) == ({"aa01", "bb02"}, "bb02")


def test_words_in_a_migration_are_not_taken_for_its_revision() -> None:
    assert (
        revisions([BASE, NEXT + '"""Revises: cc03\n# revision of the schema = "dd04"\n"""'])[1]
        == "bb02"
    )


@pytest.mark.parametrize("sources", [[], [BASE, 'revision = "cc03"\ndown_revision = None\n']])
def test_no_or_several_newest_revisions_mean_a_broken_image(sources: list[str]) -> None:
    with pytest.raises(MigrationFailed, match="this image is broken"):
        revisions(sources)


class Scripted:
    """A database that answers each look at its revision with the next pair: revision, whether somebody migrates it."""

    def __init__(self, looks: list[tuple[str | None, bool]]) -> None:
        self.looks = looks
        self.asked = ""

    def cursor(self) -> Scripted:
        return self

    def execute(self, sql: str, _: object = None) -> None:
        self.asked = sql

    def fetchone(self) -> tuple[object, ...]:
        revision, locked = self.looks[0]
        if "to_regclass" in self.asked:
            return (revision is not None,)
        return (locked,) if "pg_locks" in self.asked else (revision,)

    def close(self) -> None:
        if self.asked.startswith("closed") and len(self.looks) > 1:
            del self.looks[0]
        self.asked = "closed"


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def wait(*looks: tuple[str | None, bool]) -> None:
        scripted = Scripted(list(looks))
        monkeypatch.setattr(database, "connect", lambda *_: scripted)
        migrate.require_newest()

    monkeypatch.setenv("LETTA_STACK_WAIT_TIMEOUT", "0.3")
    monkeypatch.setenv("LETTA_PG_URI", "postgresql://letta:secret@db:5432/letta")
    monkeypatch.setattr(migrate, "_wait_for", lambda *_: None)
    monkeypatch.setattr(migrate, "_revisions_of_this_image", lambda: ({"aa01", "bb02"}, "bb02"))
    for name in ("pg8000", "pg8000.dbapi"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    return wait


def test_a_server_waits_for_the_newest_revision(wait: Callable[..., None]) -> None:
    wait((None, False), ("aa01", True), ("bb02", False))


def test_a_migration_may_take_longer_than_the_wait_for_its_beginning(
    wait: Callable[..., None],
) -> None:
    wait(*[(None, True)] * 5, ("bb02", False))


def test_nobody_migrates(wait: Callable[..., None]) -> None:
    with pytest.raises(
        MigrationFailed, match=r"nobody has migrated the database for 0\.3 s, it is at aa01"
    ):
        wait(("aa01", False))


def test_a_newer_database_is_refused_at_once(wait: Callable[..., None]) -> None:
    with pytest.raises(MigrationFailed, match="revision cc03, which this image does not know"):
        wait(("cc03", True))


@pytest.mark.parametrize(
    ("early", "reasons", "steps"),
    [
        # One that comes up just now is new: what fills it is imported meanwhile.
        (True, ["refused", None], ["look", "import", "look"]),
        # One that is there has its schema, most of the time.
        (True, [None, None], ["look", "look"]),
        (False, [None], ["look"]),
    ],
)
def test_what_migrates_is_imported_while_a_new_database_comes_up(
    early: bool, reasons: list[str | None], steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def look(*_: object) -> str | None:
        done.append("look")
        return reasons.pop(0)

    monkeypatch.setenv("LETTA_STACK_WAIT_TIMEOUT", "0.3")
    monkeypatch.setenv("LETTA_PG_URI", "postgresql://letta:secret@db:5432/letta")
    for name in ("pg8000", "pg8000.dbapi"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(migrate, "_reason_not_ready", look)
    monkeypatch.setattr(migrate, "_import_what_migrates", lambda _: done.append("import"))
    monkeypatch.setattr(migrate, "_revisions_of_this_image", lambda: ({"bb02"}, "bb02"))
    monkeypatch.setattr(database, "connect", lambda *_: SimpleNamespace(cursor=Cursor, close=int))

    migrate.main(import_early=early)

    assert done == steps


class Cursor(Scripted):
    """Of a database at the newest revision."""

    def __init__(self) -> None:
        super().__init__([("bb02", False)])
