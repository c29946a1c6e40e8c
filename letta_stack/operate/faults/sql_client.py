"""A client of PostgreSQL itself that knows every write which was acknowledged, and afterwards asks each member for them."""

from __future__ import annotations

import contextlib
import json
import subprocess
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.errors import CommandFailed, WaitTimedOut
from letta_stack.operate import postgres
from letta_stack.operate.faults import sql_writer
from letta_stack.operate.faults.model import Rows
from letta_stack.operate.faults.sql_writer import TABLE
from letta_stack.operate.faults.stack import Stack
from letta_stack.secrets import kinds
from letta_stack.secrets.store import Store
from letta_stack.topology import leader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from letta_stack.operate.faults.stack import Stage

SCRIPT = Path(sql_writer.__file__)
NETWORK = "data"  # on which the servers reach the database
STARTED_SECONDS = 60.0
CAUGHT_UP_SECONDS = 120.0


@dataclass(frozen=True)
class Written:
    """What was acknowledged."""

    numbers: frozenset[int] = frozenset()
    longest_gap: float = 0.0  # seconds between two acknowledgements


@dataclass
class Writer:
    """One that writes; ``written`` is filled once it has ended."""

    written: Written = field(default_factory=Written)


def beside(stack: Stage) -> AbstractContextManager[Writer | None]:
    """Write for the block where the database has several members; else None."""
    if isinstance(stack, Stack) and stack.project.topology.members:
        return writing(stack)
    return contextlib.nullcontext()


@contextlib.contextmanager
def writing(stack: Stack) -> Iterator[Writer]:
    """Write for the block. Raises ``WaitTimedOut`` if that does not begin."""
    source = postgres.of(stack.project)
    source.query(
        f"SET client_min_messages = warning; DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (number bigint PRIMARY KEY); "
        f"ALTER TABLE {TABLE} OWNER TO {postgres.identifier(source.owner)}"
    )
    (image,) = {
        process.capture(["docker", "inspect", "--format={{.Config.Image}}", one]).strip()
        for one in stack.containers(stack.project.topology.members[0])
    }
    name = f"{stack.project.name}-faults-writer"
    process.probe(["docker", "rm", "--force", name])
    command = [
        *("docker", "run", "--rm", "--interactive", "--name", name, "--no-healthcheck"),
        *("--network", f"{stack.project.name}_{NETWORK}", "--user=999"),
        *("--volume", f"{SCRIPT}:/writer.py:ro", "--entrypoint=python3", image, "/writer.py"),
    ]
    client = Writer()
    try:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as one:
            tell(one, Store.of(stack.project.name).read(kinds.DATABASE))
            wait_until(
                lambda: bool(int(source.value(f"SELECT count(*) FROM {TABLE}"))),  # noqa: S608 - a constant
                timeout=STARTED_SECONDS,
                interval=0.3,
                describe="no row was written before any fault",
            )
            yield client
            out, _ = one.communicate()
        client.written = read(out.splitlines())
    finally:
        process.probe(["docker", "rm", "--force", name])


def tell(one: subprocess.Popen[str], line: str) -> None:
    """Write a line to a process."""
    if one.stdin:
        one.stdin.write(line + "\n")
        one.stdin.flush()


def read(lines: Sequence[str]) -> Written:
    """Read what the writer said."""
    found = [json.loads(line) for line in lines]
    times = [float(one["at"]) for one in found]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return Written(frozenset(int(one["number"]) for one in found), max(gaps, default=0.0))


def rows(stack: Stack, written: Written) -> Rows:
    """Say what was written, and what each member has not of it once all had the time to catch up; delete it."""
    missing: dict[str, int] = {}

    def whole() -> bool:
        containers = leader.running(stack.project, stack.project.topology.members)
        missing.clear()
        missing.update({one: len(written.numbers - numbers(one)) for one in containers})
        return len(missing) == len(stack.project.topology.members) and not any(missing.values())

    with contextlib.suppress(WaitTimedOut):
        wait_until(whole, timeout=CAUGHT_UP_SECONDS, interval=1.0, describe="")
    postgres.of(stack.project).query(f"DROP TABLE IF EXISTS {TABLE}")
    return Rows(len(written.numbers), round(written.longest_gap, 1), missing)


def numbers(container: str) -> frozenset[int]:
    """Return the rows that a member has."""
    try:
        user = postgres.Postgres(container, "postgres", "letta", "letta")
        return frozenset(int(row[0]) for row in user.query(f"SELECT number FROM {TABLE}"))  # noqa: S608 - a constant
    except CommandFailed:
        return frozenset()
