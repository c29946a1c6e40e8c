"""The PostgreSQL of a project: in which container it is, and how it is asked there."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import CommandFailed, DatabaseElsewhere, NotRunning
from letta_stack.topology import leader
from letta_stack.topology.catalogue import DATABASE, SERVER

if TYPE_CHECKING:
    from letta_stack.topology.project import Project

BACKENDS = "/run/letta-stack/backends.json"  # written by the start code of the server's image
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
# Debian keeps a major version's programs beside each other and off PATH.
WITH_PROGRAMS = 'PATH="$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1):$PATH"; exec "$@"'

# What the container of a database was started with.
LOGIN = 'printf "%s\\n%s\\n" "${POSTGRES_USER:-postgres}" "${POSTGRES_DB:-$POSTGRES_USER}"'
OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"


@dataclass(frozen=True)
class Postgres:
    """One database of one container; ``superuser`` gets in over the socket."""

    container: str
    superuser: str
    name: str
    owner: str

    def argv(self, program: str, *arguments: str, interactive: bool = False) -> list[str]:
        """Write the command that runs one of PostgreSQL's programs in the container."""
        words = ["sh", "-c", WITH_PROGRAMS, "sh", program, f"--username={self.superuser}"]
        return self.inside(*words, *arguments, interactive=interactive)

    def inside(self, *command: str, interactive: bool = False) -> list[str]:
        """Write the command that runs something in the container, as PostgreSQL's user."""
        options = ["--interactive"] if interactive else []
        return ["docker", "exec", *options, "--user", "postgres", self.container, *command]

    def dump(self, file: IO[bytes], *options: str) -> None:
        """Let pg_dump write to a file. Raises ``CommandFailed``."""
        process.stream(self.argv("pg_dump", *options), stdout=file)

    def psql(self, *arguments: str, database: str = "") -> list[str]:
        """Write a psql command that reads its statements from standard input and stops at the first error."""
        options = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]
        options += ["--set=ON_ERROR_STOP=1", f"--dbname={database or self.name}"]
        return self.argv("psql", *options, *arguments, interactive=True)

    def query(self, sql: str, *, database: str = "") -> list[list[str]]:
        """Run statements; return the rows of their results, split at the bars. Raises ``CommandFailed``."""
        text = process.capture(self.psql(database=database), stdin=sql)
        return [line.split("|") for line in text.splitlines()]

    def value(self, sql: str, *, database: str = "") -> str:
        """Return the first field of the first row, "" if there is none."""
        rows = self.query(sql, database=database)
        return rows[0][0] if rows else ""


@dataclass(frozen=True)
class Direct(Postgres):
    """One that the programs here reach by libpq's variables: PGHOST, PGUSER and so on."""

    def argv(self, program: str, *arguments: str, interactive: bool = False) -> list[str]:  # noqa: ARG002 - of the base
        """Write the command that runs one of PostgreSQL's programs here."""
        return ["sh", "-c", WITH_PROGRAMS, "sh", program, *arguments]


@dataclass(frozen=True)
class Elsewhere(Postgres):
    """One of a container of another engine than the usual one."""

    docker: tuple[str, ...]  # how a command of its engine begins

    def inside(self, *command: str, interactive: bool = False) -> list[str]:
        """Write the command that runs something in the container, as PostgreSQL's user."""
        return [*self.docker, *super().inside(*command, interactive=interactive)[1:]]


def literal(text: str) -> str:
    """Quote a string for SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(text: str) -> str:
    """Quote a name for SQL."""
    return '"' + text.replace('"', '""') + '"'


def of(project: Project) -> Postgres:
    """Find the database of a running project. Raises ``NotRunning``, ``NoLeader``, ``DatabaseElsewhere``."""
    containers = {
        state.service: state.container
        for state in project.runner.states()
        if state.state == "running"
    }
    embedded = DATABASE.name not in project.topology.names
    service = SERVER if embedded else DATABASE.name
    container = containers.get(service, "") if embedded else leader.database(project)
    if not container:
        raise NotRunning(
            f"{service} of {project.name} does not run; start it with `inv up {project.flags}`"
        )
    if not embedded:
        user, name = process.capture(["docker", "exec", container, "sh", "-c", LOGIN]).split()
        found = Postgres(container, user, name, user)
        return replace(found, owner=found.value(OWNER))
    try:
        text = process.capture(["docker", "exec", container, "cat", BACKENDS])
    except CommandFailed as error:
        raise NotRunning(
            f"{container} has not got far enough to have a database ({error.last_line}); see "
            f"`inv logs {project.flags}`"
        ) from error
    backends = json.loads(text)
    host, port = backends["postgres"]
    if host not in LOOPBACK:
        raise DatabaseElsewhere(
            f"{project.name} uses the PostgreSQL at {host}:{port}, which is not part of it; use the "
            "tools of that database (pg_dump, pg_restore), and keep the encryption key with its backups"
        )
    owner, name = backends["credentials"]
    return Postgres(container, "postgres", name, owner)
