"""Role, database and extension of the embedded PostgreSQL. Runs as root at every start, changes what is missing."""

from __future__ import annotations

import json
import subprocess
from urllib.parse import unquote, urlsplit

from . import paths
from .errors import DatabaseUnreachable, MigrationFailed
from .wait import wait_until

_SQL = r"""
-- The statement with the password must not end in the log, whatever happens to it.
SET log_min_error_statement = panic;
SELECT 'CREATE ROLE letta LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'letta') \gexec
ALTER ROLE letta PASSWORD '{password}';
SELECT 'CREATE DATABASE letta OWNER letta' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'letta') \gexec
\connect letta
\i {init_sql}
\i {disk_sql}
"""
_AS_POSTGRES = ("/usr/bin/s6-setuidgid", "postgres")


def main() -> None:
    """Wait for the embedded PostgreSQL and give it what the server needs. Raises StartError."""
    server = json.loads(paths.SERVER_ENVIRONMENT.read_text())
    try:
        wait_until(
            _reason_not_ready,
            what="the embedded PostgreSQL",
            timeout=float(server["LETTA_STACK_WAIT_TIMEOUT"]),
            interval=0.05,
        )
    except TimeoutError as error:
        raise DatabaseUnreachable(
            f"{error}; raise LETTA_STACK_WAIT_TIMEOUT if it is recovering"
        ) from error
    password = unquote(urlsplit(server["LETTA_PG_URI"]).password or "")
    result = subprocess.run(
        [
            *_AS_POSTGRES,
            paths.POSTGRES_BIN / "psql",
            *("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"),
            *("--host", paths.POSTGRES_SOCKETS, "--dbname=postgres"),
        ],
        input=_SQL.format(password=password, init_sql=paths.INIT_SQL, disk_sql=paths.DISK_SQL),
        text=True,
        check=False,
        env={"PGOPTIONS": "-c client_min_messages=warning"},
    )
    if result.returncode != 0:
        raise MigrationFailed(
            "the embedded PostgreSQL could not be set up: see psql's message above"
        )


def _reason_not_ready() -> str | None:
    result = subprocess.run(
        [*_AS_POSTGRES, paths.POSTGRES_BIN / "pg_isready", "--host", paths.POSTGRES_SOCKETS],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if result.returncode == 0 else result.stdout.strip() or result.stderr.strip()
