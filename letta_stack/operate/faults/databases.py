"""PostgreSQL works, and is not what the server needs: locked, full of connections, or another one from a backup."""

from __future__ import annotations

import contextlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.operate import backup as backups
from letta_stack.operate import postgres, restore
from letta_stack.operate.faults.model import MESSAGE, READ, STREAM, Expect, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_stack.operate.faults.scene import Scene

LOCK_SECONDS = 8


@contextlib.contextmanager
def restored(scene: Scene) -> Iterator[None]:
    """Back up, and go over to a database that was made from the backup, while clients read."""
    project = scene.stack.project
    with tempfile.TemporaryDirectory(prefix="letta-stack-faults-") as directory:
        place = Path(directory)
        # What comes after the backup is not in it.
        scene.load.pause_writes()
        try:
            made = backups.create(project, directory=place, to=[], omit=True, reason="fault suite")
            restore.restore(project, made, identity=None, directory=place, to=[])
            scene.note(f"the database is the one of backup {made.id}")
        finally:
            scene.load.resume_writes()
    yield


@contextlib.contextmanager
def locked(scene: Scene) -> Iterator[None]:
    """Hold the lock that maintenance of a table takes."""
    target = postgres.of(scene.stack.project)
    sql = f"BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({LOCK_SECONDS}); ROLLBACK"
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(target.query, sql)
        scene.note(f"messages is locked for {LOCK_SECONDS} s")
        yield
    held.result()


@contextlib.contextmanager
def no_connections(scene: Scene) -> Iterator[None]:
    """Allow one connection and end all others: who wants one is told that there are too many."""
    target = postgres.of(scene.stack.project)
    database, name = postgres.identifier(target.name), postgres.literal(target.name)
    before = target.value(f"SELECT datconnlimit FROM pg_database WHERE datname = {name}")  # noqa: S608 - quoted
    others = f"FROM pg_stat_activity WHERE datname = {name} AND pid <> pg_backend_pid()"
    end_all = f"SELECT count(pg_terminate_backend(pid)) {others}"
    try:
        target.query(f"ALTER DATABASE {database} CONNECTION LIMIT 1")
        scene.note(f"CONNECTION LIMIT 1; {target.value(end_all)} connections were ended")
        yield
    finally:
        target.query(f"ALTER DATABASE {database} CONNECTION LIMIT {before}")


FAULTS = (
    Fault(
        "database-restored",
        "PostgreSQL fails over to a database that was restored from a backup of this minute",
        restored,
        undo="nothing: it stays the restored one",
        seconds=1,
        expect=Expect(healthy=240),
    ),
    Fault(
        "table-locked",
        f"the table of messages is locked for {LOCK_SECONDS} s, as some maintenance does",
        locked,
        undo="the lock ends",
        seconds=1,
        expect=Expect(healthy=30, unaffected=(READ, MESSAGE, STREAM)),
    ),
    Fault(
        "connections-used-up",
        "PostgreSQL gives the servers one connection for 10 s",
        no_connections,
        undo="the limit is what it was",
        seconds=10,
        expect=Expect(healthy=30),
    ),
)
