"""A pooler that lends connections for a transaction: how it is found out, and what the server's connections do without."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from entrypoint import database, pooler


class Pooler:
    """Hands out PostgreSQL's processes: one a session, or, by transaction, the next of ``lent`` for each question."""

    def __init__(self, lent: list[int] | None = None, greets: int | None = None) -> None:
        self.lent, self.greets, self.opened = lent, greets, 0

    def connect(self) -> Any:
        self.opened += 1
        own = self.opened
        greets = own if self.greets is None else self.greets

        def fetchone() -> tuple[int]:
            return (self.lent.pop(0) if self.lent else own,)

        cursor = SimpleNamespace(execute=str, fetchone=fetchone, close=int)
        return SimpleNamespace(
            _backend_key_data=greets.to_bytes(4) + bytes(4),
            cursor=lambda: cursor,
            rollback=int,
            close=int,
        )


@pytest.mark.parametrize(
    ("stands_between", "found", "opened"),
    [
        # PostgreSQL itself: one look, no further connection.
        (Pooler(), False, 1),
        # A pooler of sessions.
        (Pooler(greets=999), False, 6),
        (Pooler([4, 4, 4], greets=999), True, 2),
        # Others had that process meanwhile.
        (Pooler([4, 5, 4, 6, 6], greets=999), True, 3),
    ],
)
def test_two_sessions_with_one_process_are_a_pooler_of_transactions(
    stands_between: Pooler, found: bool, opened: int
) -> None:
    connection = stands_between.connect()

    assert pooler.lends_by_transaction(connection, stands_between.connect) is found
    assert stands_between.opened == opened


@pytest.mark.parametrize("lent", [[4, 4, 4], None])
def test_a_pooler_of_transactions_is_said_in_one_line_with_what_to_do(
    lent: list[int] | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETTA_PG_POOL_SIZE", "7")
    between = Pooler(lent, greets=999)
    target = database.from_uri("postgresql://u:s3cret@db:6432/d")

    pooler.say_what_it_needs(target, between.connect(), between.connect)

    said = capsys.readouterr().err
    assert said.count("\n") == (1 if lent is not None else 0)
    assert ("db:6432" in said and "LETTA_PG_POOL_SIZE (7)" in said) is (lent is not None)
    assert "s3cret" not in said


def test_statements_of_the_server_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[tuple[object, str], Any] = {}
    event = SimpleNamespace(
        listen=lambda target, name, call: heard.__setitem__((target, name), call)
    )
    monkeypatch.setitem(sys.modules, "sqlalchemy.event", event)
    pooler.use_unnamed_statements(SimpleNamespace(engine=SimpleNamespace(sync_engine="engine")))
    parameters: dict[str, Any] = {"prepared_statement_name_func": lambda: "its-own", "timeout": 10}

    heard["engine", "do_connect"](None, None, (), parameters)

    assert parameters.pop("prepared_statement_name_func")() == ""
    assert parameters == {
        "timeout": 10,
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
    }


class Driver:
    """A connection of pg8000, which notes what goes over in one piece and what does not."""

    def __init__(self, *, in_transaction: bool = False, fails: bool = False) -> None:
        self._in_transaction, self.fails = in_transaction, fails
        self.sent: list[str] = []
        self.execute_unnamed: Any = self.in_pieces

    def execute_simple(self, statement: str) -> str:
        self.sent.append(statement)
        return f"whole {statement}"

    def in_pieces(self, statement: str, **_: object) -> str:
        self.sent.append(f"pieces {statement}")
        if self.fails:
            raise ValueError(statement)
        return f"pieces {statement}"


@pytest.mark.parametrize(
    ("in_transaction", "values", "sent"),
    [
        (False, (), ["x"]),
        (True, (), ["x"]),
        (True, (1,), ["pieces x"]),
        # Nobody else's statement comes between in a transaction.
        (False, (1,), ["begin transaction", "pieces x", "commit"]),
    ],
)
def test_a_statement_never_meets_the_arguments_of_another_session(
    in_transaction: bool, values: tuple[int, ...], sent: list[str]
) -> None:
    connection = pooler.send_statements_whole(Driver(in_transaction=in_transaction))

    answer = connection.execute_unnamed("x", vals=values)

    assert connection.sent == sent
    assert answer == ("pieces x" if values else "whole x")


def test_a_statement_that_fails_leaves_no_transaction_open() -> None:
    connection = pooler.send_statements_whole(Driver(fails=True))

    with pytest.raises(ValueError, match="x"):
        connection.execute_unnamed("x", vals=(1,))

    assert connection.sent == ["begin transaction", "pieces x", "rollback"]
