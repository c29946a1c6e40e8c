"""Bring the database to the server's schema, once, however many replicas start."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import ssl
import time
from typing import TYPE_CHECKING, Any

from . import columns, database, paths, pooler
from .errors import DatabaseRefused, DatabaseUnreachable, MigrationFailed, VectorMissing
from .log import log
from .wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .database import Database

_LOCK = 0x1E77A
"""Key of the advisory lock: any number, as long as every replica has the same."""
_LOCK_TIMEOUT = 900.0
"""Seconds. A migration of a large database takes minutes; its end is what the others wait for."""
_PROBE_TIMEOUT = 5.0
_VECTOR = (
    "SELECT nspname, to_regtype('vector') IS NOT NULL FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
    "WHERE extname = 'vector'"
)
NO_IDLE_LIMIT = "idle_in_transaction_session_timeout = 0"
"""For a transaction that holds a lock: managed databases end one that does nothing for minutes."""

_REVISION = re.compile(r"^(down_)?revision\b[^=]*=\s*(?:[\"']([0-9a-f]+)[\"']|None)", re.MULTILINE)
_REFUSALS = {"28000", "28P01", "3D000", "42501"}
"""SQLSTATEs that waiting does not cure: no such user, wrong password, no such database, no right."""


def main(*, import_early: bool = False) -> None:
    """Wait for the database, then migrate it if it is not at the newest revision. Raises StartError.

    With ``import_early`` a database that does not answer yet is taken for a new one: what its migration needs is imported
    while it comes up.
    """
    target = database.from_server_environment(os.environ)
    driver = importlib.import_module("pg8000.dbapi")
    if import_early and _reason_not_ready(driver, target) is not None:
        _import_what_migrates(target)
    _wait_for(driver, target)
    known, head = _revisions_of_this_image()
    with (
        _connection(driver, target) as connection,
        contextlib.closing(connection.cursor()) as cursor,
    ):
        pooler.say_what_it_needs(target, connection, lambda: database.connect(driver, target))
        if _current(cursor) == head:
            return
        with _lock(connection, cursor):
            current = _current(cursor)
            if current == head:
                log("the database was migrated by another replica")
                return
            if current is not None and current not in known:
                raise _too_new(current)
            _ensure_vector(driver, target)
            _upgrade(target, current, head)


def require_newest() -> None:
    """Wait until somebody has migrated the database; as long as somebody does, without a limit. Raises StartError."""
    target = database.from_server_environment(os.environ)
    driver = importlib.import_module("pg8000.dbapi")
    _wait_for(driver, target)
    known, head = _revisions_of_this_image()
    timeout = float(os.environ["LETTA_STACK_WAIT_TIMEOUT"])
    last_seen_at_work = time.monotonic()

    def attempt() -> str | None:
        nonlocal last_seen_at_work
        with (
            _connection(driver, target) as connection,
            contextlib.closing(connection.cursor()) as cursor,
        ):
            current = _current(cursor)
            if current != head and _locked(cursor):
                last_seen_at_work = time.monotonic()
        if current is not None and current not in known:
            raise _too_new(current)
        if current == head:
            return None
        reason = f"it is at {current or 'nothing'}, not at {head}"
        if time.monotonic() - last_seen_at_work >= timeout:
            raise MigrationFailed(
                f"nobody has migrated the database for {timeout:g} s, {reason}; this mode does not migrate: run the same "
                "image once with the command `migrate`"
            )
        return reason

    wait_until(attempt, what="the database migration", timeout=None, interval=0.2)


def _revisions_of_this_image() -> tuple[set[str], str]:
    return revisions(path.read_text() for path in (paths.ALEMBIC / "versions").glob("*.py"))


def _too_new(current: str) -> MigrationFailed:
    return MigrationFailed(
        f"the database is at revision {current}, which this image does not know: it was used by a newer server; run "
        "that version, or restore a backup"
    )


def revisions(sources: Iterable[str]) -> tuple[set[str], str]:
    """Return all revisions and the newest one, read from the migrations' text.

    Alembic would import every migration and most of the server for that, which takes three seconds at every start.
    Raises MigrationFailed unless there is exactly one newest revision.
    """
    known: set[str] = set()
    parents: set[str] = set()
    for source in sources:
        for is_parent, revision in _REVISION.findall(source):
            (parents if is_parent else known).add(revision)
    heads = known - parents
    if len(heads) != 1:
        raise MigrationFailed(
            f"{paths.ALEMBIC} has {len(heads)} newest revisions instead of one: this image is broken"
        )
    return known, heads.pop()


def _reason_not_ready(driver: Any, target: Database) -> str | None:
    """Return why the database does not answer yet, None if it does. Raises DatabaseRefused."""
    try:
        database.connect(driver, target, timeout=_PROBE_TIMEOUT).close()
    except driver.DatabaseError as error:
        details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        if details.get("C") in _REFUSALS:
            raise DatabaseRefused(
                f"PostgreSQL at {target.address} refuses user {target.user} on database {target.name}: "
                f"{details.get('M')}; check LETTA_PG_URI or the LETTA_PG_* parts"
            ) from error
        return str(details.get("M") or error)
    except ssl.SSLCertVerificationError as error:
        raise DatabaseRefused(
            f"the certificate of PostgreSQL at {target.address} is not valid: {error.verify_message}; "
            f"check {database.AUTHORITY}, or sslmode and sslrootcert in LETTA_PG_URI"
        ) from error
    except (driver.InterfaceError, OSError) as error:
        return str(error.__cause__ or error)
    return None


def _wait_for(driver: Any, target: Database) -> None:
    timeout = float(os.environ["LETTA_STACK_WAIT_TIMEOUT"])
    try:
        wait_until(
            lambda: _reason_not_ready(driver, target),
            what=f"PostgreSQL at {target.address}",
            timeout=timeout,
            interval=0.2,
        )
    except TimeoutError as error:
        raise DatabaseUnreachable(
            f"{error}; check its address, or raise LETTA_STACK_WAIT_TIMEOUT"
        ) from error


def _current(cursor: Any) -> str | None:
    """Return the database's revision, None for an empty database."""
    cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
    if not cursor.fetchone()[0]:
        return None
    cursor.execute("SELECT version_num FROM alembic_version")
    row = cursor.fetchone()
    return None if row is None else str(row[0])


@contextlib.contextmanager
def _connection(driver: Any, target: Database) -> Iterator[Any]:
    """Connect, and leave no transaction open: a pooler would close PostgreSQL's connection for it."""
    connection = database.connect(driver, target)
    try:
        yield connection
    finally:
        # A connection that is lost has ended both already.
        with contextlib.suppress(driver.Error):
            connection.rollback()
            connection.close()


@contextlib.contextmanager
def _lock(connection: Any, cursor: Any) -> Iterator[None]:
    """Hold the advisory lock until the connection's transaction ends. Raises MigrationFailed.

    It is the transaction's and not the session's, which behind a pooler may be on another connection a moment later. Whoever waits
    has no transaction open meanwhile: those that wait would use up the pooler's connections, of which the migration needs one.
    """

    def attempt() -> str | None:
        connection.rollback()
        cursor.execute(f"SET LOCAL {NO_IDLE_LIMIT}")
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))
        if cursor.fetchone()[0]:
            return None
        connection.rollback()
        return "another replica migrates it"

    try:
        wait_until(attempt, what="the database migration", timeout=_LOCK_TIMEOUT, interval=0.2)
    except TimeoutError as error:
        raise MigrationFailed(f"{error}; look into that replica's log") from error
    yield


def _locked(cursor: Any) -> bool:
    """Say whether somebody holds the advisory lock, which is to say migrates this database."""
    cursor.execute(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = %s AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())",
        (_LOCK,),
    )
    return bool(cursor.fetchone()[0])


def _ensure_vector(driver: Any, target: Database) -> None:
    """Create the extension, which no migration does. Raises VectorMissing."""
    with (
        _connection(driver, target) as connection,
        contextlib.closing(connection.cursor()) as cursor,
    ):
        cursor.execute(_VECTOR)
        found = cursor.fetchone()
        if found is None:
            _create_vector(connection, cursor, driver, target)
        elif not found[1]:
            raise VectorMissing(
                f"the extension `vector` of database {target.name} at {target.address} is in schema {found[0]}, where user "
                f"{target.user} does not look for types: GRANT USAGE ON SCHEMA {found[0]} TO {target.user}, and ALTER ROLE "
                f"{target.user} SET search_path with that schema at its end"
            )


def _create_vector(connection: Any, cursor: Any, driver: Any, target: Database) -> None:
    try:
        cursor.execute("CREATE EXTENSION vector")
        connection.commit()
    except driver.DatabaseError as error:
        details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        # The first replica to create it wins, also against somebody without our lock.
        if details.get("C") in {"23505", "42710"}:
            return
        raise VectorMissing(
            f"PostgreSQL at {target.address} has no extension `vector` in database {target.name}, and user "
            f"{target.user} cannot create it ({details.get('M')}): install pgvector there and let a superuser run "
            f"CREATE EXTENSION vector in that database"
        ) from error


def _import_what_migrates(target: Database) -> Any:
    """Import Alembic and every migration, and return the script directory with Alembic's configuration."""
    # Migrations ask the server's settings whether this is PostgreSQL. The connection is made by _upgrade.
    os.environ["LETTA_PG_URI"] = target.migration_uri()
    columns.install()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = importlib.import_module("alembic.config").Config()
    config.set_main_option("script_location", str(paths.ALEMBIC_ENVIRONMENT))
    config.set_main_option("version_locations", str(paths.ALEMBIC / "versions"))
    importlib.import_module("alembic.command")
    importlib.import_module("alembic.script").ScriptDirectory.from_config(config).get_heads()
    return config


def _upgrade(target: Database, current: str | None, head: str) -> None:
    """Run the migrations. Raises MigrationFailed."""
    started = time.monotonic()
    log(f"migrating the database from {current or 'nothing'} to {head}")
    config = _import_what_migrates(target)
    sqlalchemy = importlib.import_module("sqlalchemy")
    engine = sqlalchemy.create_engine(
        "postgresql+pg8000://",
        creator=lambda: database.connect(importlib.import_module("pg8000.dbapi"), target),
    )
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            importlib.import_module("alembic.command").upgrade(config, "head")
    except Exception as error:
        summary = " ".join(str(error).split())[:400]
        raise MigrationFailed(
            f"the migration from {current or 'nothing'} to {head} failed and was rolled back: "
            f"{type(error).__name__}: {summary}"
        ) from error
    log(f"migrated the database in {time.monotonic() - started:.1f} s")
