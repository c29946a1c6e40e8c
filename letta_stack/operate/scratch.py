"""A temporary PostgreSQL: in a container without network, of the image that the backup came from."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.errors import BackupBroken, CommandFailed
from letta_stack.operate import dump
from letta_stack.operate.manifest import DUMP
from letta_stack.operate.postgres import Elsewhere, identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.store import Backup

START_SECONDS = 60.0
# A restore that breaks off begins anew, so it waits for the disk only at its end; and indexes are sorted in memory.
WHILE_RESTORING = ("synchronous_commit TO off", "maintenance_work_mem TO '256MB'")
HOME = "/tmp/letta-stack-scratch"  # noqa: S108 - in a container of its own
# One way for every image that has PostgreSQL's programs. What it holds is lost with it, so nothing waits for a disk.
START = f"""
PATH="$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH"
initdb --pgdata={HOME}/data --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 > {HOME}.log 2>&1 \
    || {{ cat {HOME}.log >&2; exit 1; }}
exec postgres -D {HOME}/data -c listen_addresses= -c unix_socket_directories={HOME}/data -c fsync=off \
    -c full_page_writes=off -c synchronous_commit=off -c jit=off
"""


@contextlib.contextmanager
def started(image: str, docker: tuple[str, ...] = ("docker",)) -> Iterator[Postgres]:
    """Run an empty PostgreSQL for the block. Raises ``CommandFailed``, ``WaitTimedOut``.

    Args:
        image: one with PostgreSQL's programs.
        docker: how a command of the engine begins that has it.

    """
    name = f"letta-stack-verify-{secrets.token_hex(4)}"
    options = ["--detach", "--network=none", "--pull=never", "--user=postgres", f"--name={name}"]
    options += [f"--env=PGHOST={HOME}/data", "--entrypoint=sh", "--no-healthcheck"]
    try:
        process.capture([*docker, "run", *options, image, "-c", START])
        scratch = Elsewhere(name, "postgres", "postgres", "postgres", docker)

        def answers() -> bool:
            return process.probe(scratch.argv("pg_isready", "--quiet")).ok

        wait_until(
            answers,
            timeout=START_SECONDS,
            interval=0.25,
            describe=lambda: f"the PostgreSQL to verify in does not start: {log(name, docker)}",
        )
        yield scratch
    finally:
        process.probe([*docker, "rm", "--force", "--volumes", name])


def log(container: str, docker: tuple[str, ...] = ("docker",)) -> str:
    """Return the last line that a container wrote."""
    written = process.probe([*docker, "logs", "--tail=1", container])
    return (written.stdout + written.stderr).strip()


def restore(postgres: Postgres, backup: Backup, database: str) -> None:
    """Make a database from a backup: its roles, its tables, its settings. Raises ``BackupBroken``."""
    about = backup.manifest
    if about is None:
        raise BackupBroken(backup.problem)
    owner, name = identifier(about.owner), identifier(database)
    postgres.query(
        dump.roles_sql(sorted({about.owner, *about.roles}))
        + f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8';\n"
        + "".join(f"ALTER DATABASE {name} SET {one};\n" for one in WHILE_RESTORING),
        database="postgres",
    )
    try:
        with (backup.directory / DUMP).open("rb") as file:
            dump.read(postgres, file, database)
    except CommandFailed as error:
        raise BackupBroken(
            f"PostgreSQL cannot restore backup {backup.id}: {error.last_line}; take another of `inv backup.list`"
        ) from error
    postgres.query(
        f"ALTER DATABASE {name} RESET ALL;\n{dump.settings_sql(database, about.settings)}",
        database="postgres",
    )
