"""A database that can be read, wherever it is: live in its container, on a copy of its directory, or over the network."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from letta_stack.base import process
from letta_stack.errors import (
    BadValue,
    CommandFailed,
    SourceForeign,
    SourceInUse,
    SourceNewer,
    SourceUnknown,
)
from letta_stack.operate.adopt import copied
from letta_stack.operate.postgres import WITH_PROGRAMS, Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_stack.operate.adopt.place import Place

# Upstream's superuser is `letta`, ours and most others' `postgres`.
SUPERUSERS = ("postgres", "letta")
DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"
IS_LETTA = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relname IN ('agents', 'messages') AND n.nspname !~ '^pg_'
"""
TABLES = 2  # those of ``IS_LETTA``
OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
PASSWORD_VARIABLE = "PGPASSWORD"  # noqa: S105 - a name
# Written to a file of the client's container: neither its command nor its variables hold a password.
CLIENT = "cat >/tmp/passwords && chmod 600 /tmp/passwords"


@dataclass(frozen=True)
class Source:
    """A database of a Letta server that answers."""

    place: Place
    postgres: Postgres
    live: bool  # its server may go on writing


@contextlib.contextmanager
def opened(place: Place, *, database: str, image: str) -> Iterator[Source]:
    """Make the database answer for the block; the original is only read.

    ``database`` is its name, "" for the only one that is a Letta server's. ``image`` has the PostgreSQL for directories of
    which nobody knows the image. Raises ``SourceUnknown``, ``SourceInUse``, ``SourceForeign``, ``SourceNewer``,
    ``WrongOwner``, ``BackupNoRoom``.
    """
    if place.uri:
        with remote(place, image) as reader:
            yield Source(place, chosen(reader, database or reader.name), live=True)
    elif place.container:
        yield Source(place, chosen(inside(place), database), live=True)
    else:
        image = place.image or image
        found = copied.look(place.mount, image)
        if found.major != found.program:
            raise SourceNewer(
                f"{place.what} has the data of PostgreSQL {found.major}, which only that version reads, and {image} is "
                f"{found.program}; name an image with {found.major} and pgvector: --postgres-image REF"
            )
        copied.refuse(place.mount, found)
        with copied.started(place.mount, found.home, image) as reader:
            yield Source(place, chosen(reader, database), live=False)


def inside(place: Place) -> Postgres:
    """Return the PostgreSQL of a running container. Raises ``SourceInUse`` if it does not answer."""
    ask = ["docker", "exec", place.container, "sh", "-c", 'echo "${POSTGRES_USER:-}"']
    given = process.probe(ask).stdout.strip()
    for user in dict.fromkeys(filter(None, (given, *SUPERUSERS))):
        reader = Postgres(place.container, user, "template1", user)
        if process.probe(reader.psql(), stdin="SELECT 1").ok:
            return reader
    raise SourceInUse(
        f"{place.what} runs, but its PostgreSQL lets nobody in over its socket; see `docker logs {place.container}`, or "
        "stop it, then its data are copied"
    )


@contextlib.contextmanager
def remote(place: Place, image: str) -> Iterator[Postgres]:
    """Run a container with PostgreSQL's clients that are led to the server of a URI."""
    try:
        parts = urlsplit(place.uri)
        port = parts.port or 5432
    except ValueError as error:
        raise BadValue("--from is no URI; percent-encode the special characters in it") from error
    name, user = unquote(parts.path.lstrip("/")), unquote(parts.username or "")
    if not (parts.hostname and user and name):
        raise BadValue("--from must have the form postgresql://USER@HOST:PORT/DATABASE")
    password = unquote(parts.password or "") or os.environ.get(PASSWORD_VARIABLE, "")
    container = f"letta-stack-adopt-{secrets.token_hex(4)}"
    options = ["--detach", "--network=host", "--pull=never", "--user=postgres", "--no-healthcheck"]
    options += [f"--name={container}", f"--env=PGHOST={parts.hostname}", f"--env=PGPORT={port}"]
    options += [
        "--env=PGPASSFILE=/tmp/passwords",
        "--env=PGCONNECT_TIMEOUT=10",
        "--entrypoint=sleep",
    ]
    mode = dict(parse_qsl(parts.query)).get("sslmode", "prefer")
    try:
        process.capture(["docker", "run", *options, f"--env=PGSSLMODE={mode}", image, "infinity"])
        text = password.replace("\\", "\\\\").replace(":", "\\:")
        process.capture(
            ["docker", "exec", "--interactive", container, "sh", "-c", CLIENT],
            stdin=f"*:*:*:*:{text}\n",
        )
        reader = Postgres(container, user, name, user)
        answer = process.probe(reader.psql(), stdin="SELECT 1")
        if not answer.ok:
            raise SourceUnknown(
                f"{parts.hostname}:{port}/{name} does not let {user} in: {answer.stderr.strip().partition(chr(10))[0]} "
                f"(the password can be in {PASSWORD_VARIABLE})"
            )
        refuse_newer(reader)
        yield reader
    finally:
        process.probe(["docker", "rm", "--force", "--volumes", container])


def refuse_newer(reader: Postgres) -> None:
    """Raise ``SourceNewer`` for a server that the clients of our own version do not dump."""
    there = int(reader.value("SHOW server_version_num")) // 10000
    ask = ["docker", "exec", reader.container, "sh", "-c", WITH_PROGRAMS, "sh"]
    text = process.capture([*ask, "pg_dump", "--version"])
    here = int(next(word for word in text.split() if word[0].isdigit()).partition(".")[0])
    if there > here:
        raise SourceNewer(
            f"the server of --from is PostgreSQL {there}, here is {here}, which cannot read its dump"
        )


def chosen(reader: Postgres, database: str) -> Postgres:
    """Return the database of a Letta server. Raises ``SourceForeign`` if there is none, or several."""
    names = [row[0] for row in reader.query(DATABASES)]
    if database and database not in names:
        raise SourceForeign(f"there is no database {database!r} there, but: {', '.join(names)}")
    candidates = [database] if database else names
    found = [one for one in candidates if is_letta(reader, one)]
    if not found:
        raise SourceForeign(
            f"none of {', '.join(candidates)} is the database of a Letta server: they have no tables agents and messages"
        )
    if len(found) > 1:
        raise SourceForeign(
            f"{', '.join(found)} are all databases of Letta servers; choose one: --database NAME"
        )
    one = replace(reader, name=found[0])
    return replace(one, owner=one.value(OWNER))


def is_letta(reader: Postgres, database: str) -> bool:
    """Say whether a database has the server's tables; one that lets nobody in has none for us."""
    try:
        return int(reader.value(IS_LETTA, database=database)) >= TABLES
    except CommandFailed:
        return False
