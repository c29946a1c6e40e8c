"""What a pooler between the server and PostgreSQL needs: one that lends a connection for a transaction, not for a session.

PgBouncer's mode `transaction`, and those of Neon, Supabase and RDS Proxy. What a session keeps there, others get next, or nobody:
prepared statements, advisory locks, settings. So the server uses none of them, with a pooler or without.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import TYPE_CHECKING, Any

from .log import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from .database import Database

PID = "SELECT pg_backend_pid()"
_LOOKS = 5


def _unnamed() -> str:
    return ""


CONNECT_ARGUMENTS = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": _unnamed,
}
"""For SQLAlchemy with asyncpg. A statement without a name goes over together with its arguments and is gone with the next one.

The server (letta/server/db.py) gives each a name of its own and closes it one statement later, by a message more. Behind a pooler
that may be on another connection, and the first one keeps it for ever: memory of PostgreSQL.
"""


def use_unnamed_statements(module: Any) -> None:
    """Let the server's connections prepare nothing that has a name, whether it has a pool of its own or not."""
    event = importlib.import_module("sqlalchemy.event")

    def set_arguments(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        parameters.update(CONNECT_ARGUMENTS)

    event.listen(module.engine.sync_engine, "do_connect", set_arguments)


def send_statements_whole(connection: Any) -> Any:
    """Return pg8000's connection, whose statements go over in one piece or in a transaction.

    Its own way sends a statement, waits, then sends the arguments, also for a COMMIT. Outside of a transaction they may meet the
    statement of another session by then, and run that.
    """
    in_pieces = connection.execute_unnamed

    def execute(statement: str, vals: Any = (), oids: Any = (), stream: Any = None) -> Any:
        if not vals and stream is None:
            return connection.execute_simple(statement)
        if connection._in_transaction:  # noqa: SLF001 - the driver's own cursors ask it as well
            return in_pieces(statement, vals=vals, oids=oids, stream=stream)
        connection.execute_simple("begin transaction")
        try:
            context = in_pieces(statement, vals=vals, oids=oids, stream=stream)
        except BaseException:
            connection.execute_simple("rollback")
            raise
        connection.execute_simple("commit")
        return context

    connection.execute_unnamed = execute
    return connection


def say_what_it_needs(target: Database, connection: Any, connect: Callable[[], Any]) -> None:
    """Say in one line if there is a pooler that lends connections for a transaction.

    ``connection`` is pg8000's, open and in no transaction; ``connect`` makes one more.
    """
    if lends_by_transaction(connection, connect):
        size = os.environ.get("LETTA_PG_POOL_SIZE", "20")
        log(
            f"PostgreSQL at {target.address} is behind a pooler in transaction mode: give it more connections than "
            f"replicas x LETTA_PG_POOL_SIZE ({size}), or lower that"
        )


def lends_by_transaction(connection: Any, connect: Callable[[], Any]) -> bool:
    """Tell whether two sessions that are open at the same time have one process of PostgreSQL.

    True is certain. False is not, while others use the pooler so much that no process is free twice.
    """
    # The process that greeted is the one that answers, if nobody stands between. (Also a proxy of bytes passes that on.)
    greeted = int.from_bytes((getattr(connection, "_backend_key_data", None) or b"")[:4])
    if greeted == _pid(connection):
        return False
    for _ in range(_LOOKS):
        with contextlib.closing(connect()) as other:
            if _pid(other) == _pid(connection):
                return True
    return False


def _pid(connection: Any) -> int:
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(PID)
        pid = int(cursor.fetchone()[0])
    connection.rollback()
    return pid
