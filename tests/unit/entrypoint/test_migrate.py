"""The newest revision, read from the text of the migrations, and who waits until the database is there."""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from entrypoint import database, migrate
from entrypoint.errors import MigrationFailed, VectorMissing
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


def forget_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pg8000", "pg8000.dbapi"):
        module = ModuleType(name)
        module.__dict__["Error"] = module.__dict__["DatabaseError"] = Refused
        monkeypatch.setitem(sys.modules, name, module)


class Refused(Exception):
    """What the driver raises."""


class Scripted:
    """A database that answers each look at its revision with the next pair: revision, whether somebody migrates it."""

    _backend_key_data = bytes(8)

    def __init__(self, looks: list[tuple[str | None, bool]]) -> None:
        self.looks = looks
        self.asked = ""

    def cursor(self) -> Scripted:
        return self

    def execute(self, sql: str, _: object = None) -> None:
        self.asked = sql

    def fetchone(self) -> tuple[object, ...]:
        if "pg_backend_pid" in self.asked:
            return (0,)
        revision, locked = self.looks[0]
        if "to_regclass" in self.asked:
            return (revision is not None,)
        return (locked,) if "pg_locks" in self.asked else (revision,)

    def rollback(self) -> None:
        """Succeed."""

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
    forget_driver(monkeypatch)
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
    forget_driver(monkeypatch)
    monkeypatch.setattr(migrate, "_reason_not_ready", look)
    monkeypatch.setattr(migrate, "_import_what_migrates", lambda _: done.append("import"))
    monkeypatch.setattr(migrate, "_revisions_of_this_image", lambda: ({"bb02"}, "bb02"))
    monkeypatch.setattr(database, "connect", lambda *_: Cursor())

    migrate.main(import_early=early)

    assert done == steps


class Cursor(Scripted):
    """Of a database at the newest revision."""

    def __init__(self) -> None:
        super().__init__([("bb02", False)])


class Session:
    """A connection whose answers are scripted by a word of the question; notes what it was told."""

    def __init__(self, answers: dict[str, list[object]]) -> None:
        self.answers, self.told = answers, list[str]()
        self.answer: object = None

    def cursor(self) -> Session:
        return self

    def execute(self, sql: str, _: object = None) -> None:
        self.told.append(sql.partition("(")[0])
        self.answer = next(
            (found.pop(0) for word, found in self.answers.items() if word in sql), None
        )
        if isinstance(self.answer, Exception):
            raise self.answer

    def fetchone(self) -> object:
        return self.answer

    def commit(self) -> None:
        self.told.append("commit")

    def rollback(self) -> None:
        self.told.append("rollback")

    def close(self) -> None:
        self.told.append("close")


def test_whoever_waits_for_the_lock_has_no_transaction_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = Session({"pg_try_advisory_xact_lock": [(False,), (True,)]})

    def wait(attempt: Callable[[], str | None], **_: object) -> None:
        while attempt():
            session.told.append("sleep")

    monkeypatch.setattr(migrate, "wait_until", wait)

    with migrate._lock(session, session):  # noqa: SLF001 - a pooler shows it only under load
        session.told.append("migrates")

    look = ["rollback", f"SET LOCAL {migrate.NO_IDLE_LIMIT}", "SELECT pg_try_advisory_xact_lock"]
    assert session.told == [*look, "rollback", "sleep", *look, "migrates"]


def test_a_connection_that_was_lost_hides_no_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_driver(monkeypatch)
    driver, session = sys.modules["pg8000.dbapi"], Session({})
    monkeypatch.setattr(session, "rollback", lambda: (_ for _ in ()).throw(Refused))
    monkeypatch.setattr(database, "connect", lambda *_: session)

    def fail() -> None:
        with migrate._connection(driver, database.from_uri("postgresql://u:p@h/d")):  # noqa: SLF001 - see above
            raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        fail()


@pytest.mark.parametrize(
    ("found", "created", "problem"),
    [
        (("public", True), None, ""),
        (("extensions", False), None, "is in schema extensions, where user u does not look"),
        (None, None, ""),
        # Somebody else was faster.
        (None, Refused({"C": "42710"}), ""),
        (None, Refused({"C": "42501", "M": "no right"}), "user u cannot create it .no right."),
    ],
)
def test_the_extension_is_there_and_found(
    found: object, created: object, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_driver(monkeypatch)
    session = Session({"pg_extension": [found], "CREATE EXTENSION": [created]})
    monkeypatch.setattr(database, "connect", lambda *_: session)
    target = database.from_uri("postgresql://u:p@h/d")

    with pytest.raises(VectorMissing, match=problem) if problem else contextlib.nullcontext():
        migrate._ensure_vector(sys.modules["pg8000.dbapi"], target)  # noqa: SLF001 - needs no database for this

    assert ("commit" in session.told) is (found is None and created is None)
    assert session.told[-1] == "close"
