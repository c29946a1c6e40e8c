"""What goes wrong while something starts: migrations, secrets. Each acts beside the running stack, which must not notice.

The migrations get a database of their own in the same PostgreSQL, deleted afterwards; the stack's own is not touched.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from letta_stack.base import console, process
from letta_stack.base.wait import wait_until
from letta_stack.operate import postgres
from letta_stack.operate.faults.model import MESSAGE, READ, STREAM, Expect, Fault
from letta_stack.operate.faults.stack import docker
from letta_stack.secrets import kinds
from letta_stack.secrets.store import Store
from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from letta_stack.operate.faults.scene import Scene
    from letta_stack.operate.faults.stack import Stack
    from letta_stack.operate.postgres import Postgres

UNAFFECTED = Expect(healthy=60, unaffected=(READ, MESSAGE, STREAM))
START_SECONDS = 300.0
START_CODES = range(70, 90)  # the container's own: it says why it does not start
REVISION = "SELECT version_num FROM alembic_version"
AT_WORK = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
OID = "(SELECT oid FROM pg_database WHERE datname = {})"


@dataclass(frozen=True)
class Scratch:
    """An empty database beside the stack's own."""

    stack: Stack
    target: Postgres
    name: str

    def revision(self) -> str:
        """Return where the migrations have brought it, "" if nowhere."""
        there = self.target.value("SELECT to_regclass('alembic_version')", database=self.name)
        return self.target.value(REVISION, database=self.name) if there else ""

    def at_work(self) -> bool:
        """Say whether a migration holds its lock."""
        oid = OID.format(postgres.literal(self.name))
        return self.target.value(AT_WORK + oid) != "0"

    def migrate(self, container: str) -> int:
        """Run the migration of the server's image on it; return its exit code."""
        parts = urlsplit(Store.of(self.stack.project.name).read(kinds.DATABASE))
        uri = parts._replace(path=f"/{self.name}").geturl()
        options = [f"--network={self.stack.project.name}_data", f"--name={container}"]
        return run(self.stack, "migrate", options, {"LETTA_PG_URI": uri})


@contextlib.contextmanager
def scratch(stack: Stack) -> Iterator[Scratch]:
    """Make a database for the block."""
    target = postgres.of(stack.project)
    name = f"letta_faults_{secrets.token_hex(4)}"
    database = postgres.identifier(name)
    target.query(f"CREATE DATABASE {database} OWNER {postgres.identifier(target.owner)}")
    try:
        target.query("CREATE EXTENSION vector", database=name)
        yield Scratch(stack, target, name)
    finally:
        target.query(f"DROP DATABASE {database} WITH (FORCE)")


def run(stack: Stack, mode: str, options: list[str], variables: Mapping[str, str]) -> int:
    """Run a container of the server's image in one of its modes; secrets go through the environment."""
    settings = {**variables, "LETTA_ENCRYPTION_KEY": secrets.token_hex(16)}
    user = docker("inspect", "--format={{.Config.User}}", stack.containers(SERVER)[0]).strip()
    own = f"uid={user.partition(':')[0]}"
    # What compose.yaml gives these modes.
    options += [f"--user={user}", f"--tmpfs=/run:{own}", f"--tmpfs=/var/lib/letta:{own},exec"]
    options += ["--rm", "--init", "--no-healthcheck", *(f"--env={name}" for name in settings)]
    command = ["docker", "run", *options, stack.image, mode]
    done = process.probe(command, env=settings, timeout=START_SECONDS)
    for line in (done.stdout + done.stderr).splitlines()[-2:]:
        console.say(f"  {line}")
    return done.exit_code


@contextlib.contextmanager
def two_migrations(scene: Scene) -> Iterator[None]:
    """Migrate one empty database twice at the same moment."""
    wanted = postgres.of(scene.stack.project).value(REVISION)
    names = [f"{scene.stack.project.name}-faults-migrate-{one}" for one in (1, 2)]
    with scratch(scene.stack) as database, removed(*names):
        with ThreadPoolExecutor() as pool:
            codes = list(pool.map(database.migrate, names))
        scene.require(codes == [0, 0], f"both migrations ended with 0 ({codes})")
        scene.require(database.revision() == wanted, f"the schema is at {wanted}")
    yield


@contextlib.contextmanager
def killed_migration(scene: Scene) -> Iterator[None]:
    """Kill a migration at work, and run it again."""
    wanted = postgres.of(scene.stack.project).value(REVISION)
    first, second = (f"{scene.stack.project.name}-faults-migrate-{one}" for one in (1, 2))
    with scratch(scene.stack) as database, removed(first, second), ThreadPoolExecutor() as pool:
        begun = pool.submit(database.migrate, first)
        wait_until(
            database.at_work,
            timeout=START_SECONDS,
            interval=0.1,
            describe="the migration does not begin",
        )
        time.sleep(scene.chance.uniform(0.2, 1.5))
        process.probe(["docker", "kill", first])
        scene.note(f"the first one was killed at work and ended with {begun.result()}")
        code = database.migrate(second)
        scene.require(code == 0, f"the second one ended with {code}")
        scene.require(database.revision() == wanted, f"the schema is at {wanted}")
    yield


@contextlib.contextmanager
def half_a_secret(scene: Scene) -> Iterator[None]:
    """Start a further replica whose file with the database's address was cut in the middle of its writing."""
    whole = Store.of(scene.stack.project.name).read(kinds.DATABASE)
    name = f"{scene.stack.project.name}-faults-half"
    with tempfile.TemporaryDirectory(prefix="letta-stack-faults-") as directory:
        file = Path(directory, "database-uri")
        file.touch(mode=0o644)
        for length in (0, scene.chance.randrange(len("postgresql://"), len(whole) // 2)):
            file.write_text(whole[:length], encoding="utf-8")
            options = [f"--volume={file}:/run/secrets/half:ro", f"--name={name}"]
            options += [f"--network={scene.stack.project.name}_data"]
            with removed(name):
                variables = {
                    "LETTA_PG_URI_FILE": "/run/secrets/half",
                    "LETTA_STACK_WAIT_TIMEOUT": "10",
                }
                code = run(scene.stack, "serve", options, variables)
            scene.require(
                code in START_CODES,
                f"with {length} of {len(whole)} characters the replica ends with {code}, a reason of its own",
            )
    yield


@contextlib.contextmanager
def removed(*names: str) -> Iterator[None]:
    """Remove containers before and after the block."""
    command = ["docker", "rm", "--force", "--volumes", *names]
    process.probe(command)
    try:
        yield
    finally:
        process.probe(command)


FAULTS = (
    Fault(
        "two-migrations",
        "two migrations of one new database at once, beside the running stack",
        two_migrations,
        undo="the database is deleted",
        seconds=0,
        expect=UNAFFECTED,
    ),
    Fault(
        "migration-killed",
        "a migration is killed half-way and run again, beside the running stack",
        killed_migration,
        undo="the database is deleted",
        seconds=0,
        expect=UNAFFECTED,
    ),
    Fault(
        "secret-half-written",
        "a further replica finds an empty and a half-written secret",
        half_a_secret,
        undo="the replica is removed",
        seconds=0,
        expect=UNAFFECTED,
    ),
)
