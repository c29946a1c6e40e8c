"""Brings a database beside the one of a running project: dumped, restored, compared, and given the shape that is usual here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.progress import Progress
from letta_stack.errors import AdoptFailed, LettaStackError
from letta_stack.operate import dump, restore, tables
from letta_stack.operate.postgres import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from letta_stack.operate.dump import Settings
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.tables import Table

OWNER = "letta-stack-adopt"  # of everything while it is restored, whoever owned it before
MAKE = """
SELECT 'CREATE ROLE {owner} SUPERUSER NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {text}) \\gexec
CREATE DATABASE {database} OWNER {target} TEMPLATE template0 ENCODING 'UTF8';
"""
# Upstream has the tables in a schema that is called like the database and found by a property of it, which a dump leaves
# out. Here they are in `public`, as in our own databases (rootfs/docker-entrypoint-initdb.d/init.sql).
MOVE = """
BEGIN;
SELECT format('ALTER EXTENSION %I SET SCHEMA %I', extname, {text}) FROM pg_extension
  WHERE extnamespace = to_regnamespace('public') AND extrelocatable \\gexec
DROP SCHEMA IF EXISTS public;
ALTER SCHEMA {schema} RENAME TO public;
COMMIT;
"""
HAND_OVER = """
BEGIN;
REASSIGN OWNED BY {owner} TO {target};
ALTER SCHEMA public OWNER TO pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
DROP OWNED BY {owner};
DROP ROLE {owner};
COMMIT;
"""


def load(
    target: Postgres, file: Path, content: Mapping[str, Table], *, schema: str, fresh: str
) -> None:
    """Restore a dump into the new database ``fresh``, compare it with ``content``, and hand it to the target's owner.

    Leaves nothing if that fails. Raises ``AdoptFailed``.
    """
    clear(target, fresh)
    names = {"owner": identifier(OWNER), "target": identifier(target.owner)}
    try:
        with Progress("restoring beside the present database"):
            target.query(
                MAKE.format(**names, text=literal(OWNER), database=identifier(fresh)),
                database="postgres",
            )
            read(target, file, fresh)
        with Progress("comparing every table"):
            compare(content, dump.content(target, fresh))
        if schema != "public":
            target.query(
                MOVE.format(schema=identifier(schema), text=literal(schema)), database=fresh
            )
        target.query(HAND_OVER.format(**names), database=fresh)
    except LettaStackError as error:
        clear(target, fresh)
        raise AdoptFailed(f"{error}; nothing was changed") from error
    except BaseException:
        clear(target, fresh)
        raise


def clear(target: Postgres, fresh: str) -> None:
    """Delete what a takeover that did not get to its end has left."""
    restore.drop(target, fresh)
    target.query(f"DROP ROLE IF EXISTS {identifier(OWNER)}", database="postgres")


def read(target: Postgres, file: Path, fresh: str) -> None:
    """Restore; the old owners and rights mean nothing here."""
    options = ["--exit-on-error", "--no-owner", "--no-privileges", f"--role={OWNER}"]
    command = target.argv("pg_restore", *options, f"--dbname={fresh}", interactive=True)
    with file.open("rb") as opened:
        process.stream(command, stdin=opened)


def kept(settings: Settings) -> Settings:
    """Return what of a database's settings goes with it: not the search path, nor what is some old role's."""
    return [one for one in settings if not one[0] and one[1] != "search_path"]


def compare(content: Mapping[str, Table], found: Mapping[str, Table]) -> None:
    """Raise ``AdoptFailed`` unless every table has what it had."""
    if different := tables.differences(content, found):
        raise AdoptFailed(f"what was restored is not what was dumped: {'; '.join(different[:5])}")
