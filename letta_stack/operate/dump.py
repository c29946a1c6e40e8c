"""Writes a database to a file and reads it back, with what pg_dump leaves out: the settings of the database itself."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import CommandFailed
from letta_stack.operate import tables
from letta_stack.operate.postgres import identifier, literal

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.operate.postgres import Postgres

Settings = list[
    list[str]
]  # role ("" for all), name, value, each as `ALTER DATABASE ... SET` made it
# PostgreSQL quotes the members of these lists itself; quoted again, a list would be one strange name.
LISTS = {"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"}
COMPRESSION = 4  # PostgreSQL's own level, 6, takes more than twice the processor time for 7 % less
FACTS = """
SELECT json_build_object(
  'server', current_setting('server_version'),
  'extensions', (SELECT json_object_agg(extname, extversion) FROM pg_extension),
  'revision', (SELECT CASE WHEN to_regclass('public.alembic_version') IS NULL THEN NULL
    ELSE (xpath('/row/version_num/text()',
      query_to_xml('SELECT version_num FROM public.alembic_version', false, true, '')))[1]::text END),
  'bytes', pg_database_size(current_database()),
  'settings', (SELECT coalesce(json_agg(json_build_array(coalesce(r.rolname, ''),
      split_part(c, '=', 1), substr(c, strpos(c, '=') + 1))), '[]')
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
    LEFT JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN unnest(s.setconfig) AS c
    WHERE d.datname = current_database()),
  'roles', (SELECT json_agg(DISTINCT r.rolname) FROM pg_roles r
    WHERE r.rolname !~ '^pg_' AND (r.oid IN (SELECT relowner FROM pg_class)
      OR r.oid IN (SELECT a.grantee FROM pg_class c CROSS JOIN aclexplode(c.relacl) a))))
"""


def facts(postgres: Postgres, database: str = "") -> dict[str, object]:
    """Return versions, revision, size in bytes, settings and roles of a database."""
    found: dict[str, object] = json.loads(
        process.capture(postgres.psql(database=database), stdin=FACTS)
    )
    return found


def content(postgres: Postgres, database: str = "") -> dict[str, tables.Table]:
    """Return rows and hash of every table."""
    return tables.parse(postgres.query(tables.FORMATS + tables.LIST, database=database))


def write(postgres: Postgres, target: Path) -> dict[str, tables.Table]:
    """Dump into ``target`` and return what the tables held at that moment, seen in one snapshot.

    The hashes are computed while pg_dump runs: it is busy with compression most of the time. Raises ``CommandFailed``.
    """
    session = postgres.psql("--set=FETCH_COUNT=0")
    with process.conversation(session) as psql, target.open("xb") as file:
        if psql.stdin is None or psql.stdout is None or psql.stderr is None:
            raise AssertionError
        psql.stdin.write(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT pg_export_snapshot();\n"
        )
        psql.stdin.flush()
        snapshot = psql.stdout.readline().strip()
        if not snapshot:
            raise CommandFailed(session, psql.wait(), psql.stderr.read())
        psql.stdin.write(tables.FORMATS + tables.LIST)
        psql.stdin.flush()
        options = ["--format=custom", f"--compress={COMPRESSION}", f"--snapshot={snapshot}"]
        options.append(f"--dbname={postgres.name}")
        postgres.dump(file, *options)
        stdout, stderr = psql.communicate()
        if psql.returncode != 0:
            raise CommandFailed(session, psql.returncode, stderr)
    return tables.parse(line.split("|") for line in stdout.splitlines())


def read(postgres: Postgres, source: IO[bytes], database: str) -> None:
    """Restore a dump into an empty database; the first error ends it. Raises ``CommandFailed``."""
    options = ["--exit-on-error", f"--dbname={database}"]
    process.stream(postgres.argv("pg_restore", *options, interactive=True), stdin=source)


def roles_sql(roles: list[str]) -> str:
    """Write statements that make the roles which are missing. They get no password and cannot log in."""
    return "".join(
        f"SELECT format('CREATE ROLE %I NOLOGIN', {literal(role)}) WHERE NOT EXISTS "  # noqa: S608 - quoted
        f"(SELECT FROM pg_roles WHERE rolname = {literal(role)}) \\gexec\n"
        for role in roles
    )


def settings_sql(database: str, settings: Settings) -> str:
    """Write the statements that give a database its settings back."""
    return "".join(
        (f"ALTER ROLE {identifier(role)} IN DATABASE" if role else "ALTER DATABASE")
        + f" {identifier(database)} SET {identifier(name)} TO "
        + f"{value if name in LISTS else literal(value)};\n"
        for role, name, value in settings
    )
