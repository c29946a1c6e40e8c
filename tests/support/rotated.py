"""Containers whose secrets are rotated."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.secrets import kinds, scram, store
from letta_stack.secrets.store import NEW, OLD, Store
from letta_stack.topology import rotation, rotation_steps
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

REPLICAS = ("mine-letta-server-1", "mine-letta-server-2")
PSQL = [
    *("mine-letta-db-1", "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"),
    *("--username=postgres", "--dbname=postgres", "--output=/dev/null"),
]
LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()


class Killed(BaseException):
    """What ends the process, at a point of the test's choice."""


class Engine:
    """Containers as the rotation sees them: roles, Redis's passwords, and servers with what they have read."""

    def __init__(self, files: Store) -> None:
        self.files = files
        uri = files.read(kinds.DATABASE)
        self.roles = {kinds.login(uri): scram.verifier(kinds.password(kinds.DATABASE, uri))}
        self.redis = {rotation_steps._hash(files.read(kinds.REDIS))}  # noqa: SLF001 - how Redis writes it
        self.started = dict.fromkeys(REPLICAS, LONG_AGO)
        self.read = {name: self.current() for name in REPLICAS}
        self.sessions = set(kinds.LOGINS)
        self.redis_options: list[str] = []
        self.redis_says = "OK\nOK\n"
        self.health = dict.fromkeys(REPLICAS, "healthy")
        self.calls = 0
        self.kill_before = self.kill_after = -1

    def current(self) -> dict[str, str]:
        return {name: self.files.read(name) for name in kinds.NAMES}

    def capture(self, argv: Sequence[str], *, stdin: str = "", **_: Any) -> str:
        self.calls += 1
        if self.calls == self.kill_before:
            raise Killed
        answer = self.execute(list(argv), stdin)
        if self.calls == self.kill_after:
            raise Killed
        return answer

    def execute(self, argv: list[str], stdin: str) -> str:
        assert argv[0] == "docker"
        if argv[1] == "inspect":
            assert argv[2:-1] == ["--format", "{{.State.StartedAt}}"]
            moment = dt.datetime.fromtimestamp(self.started[argv[-1]], tz=dt.UTC)
            return f"{moment:%Y-%m-%dT%H:%M:%S.%f}789Z\n"
        if argv[1] == "restart":
            self.started[argv[-1]] = time.time()
            self.read[argv[-1]] = self.current()
            return ""
        assert argv[1:3] == ["exec", "--interactive"]
        if argv[3:] == ["mine-letta-redis-1", "redis-cli", *self.redis_options]:
            login, change = stdin.splitlines()
            assert rotation_steps._hash(login.removeprefix("AUTH ")) in self.redis  # noqa: SLF001
            if " resetpass " in change:
                self.redis.clear()
            self.redis.add(change.rpartition(" ")[2])
            return self.redis_says
        assert argv[3:] == PSQL
        for role, action, verifier in re.findall(
            r"ALTER ROLE (\w+) (LOGIN|NOLOGIN) PASSWORD (\S+);", stdin
        ):
            self.roles.pop(role, None)
            if action == "LOGIN":
                self.roles[role] = verifier.strip("'")
        self.sessions -= set(re.findall(r"pg_terminate_backend.* usename = '(\w+)';", stdin))
        return ""

    def locked_out(self) -> list[str]:
        """Return the servers whose values PostgreSQL or Redis does not take."""
        return [name for name, values in self.read.items() if not self.takes(values)]

    def takes(self, values: dict[str, str]) -> bool:
        uri = values[kinds.DATABASE]
        known = self.roles.get(kinds.login(uri), "")
        database = scram.matches(kinds.password(kinds.DATABASE, uri), known)
        return database and rotation_steps._hash(values[kinds.REDIS]) in self.redis  # noqa: SLF001

    def states(self) -> list[State]:
        names = dict.fromkeys(REPLICAS, "letta-server")
        names |= {"mine-letta-db-1": "letta-db", "mine-letta-redis-1": "letta-redis"}
        return [
            State(service, name, "running", self.health.get(name, "healthy"), 0)
            for name, service in names.items()
        ]


def replaced(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Put one in the place of the real engine, for one test; the secrets lie in ``directory``."""
    monkeypatch.setattr(store, "SECRETS", directory)
    files = Store(directory / "mine")
    files.ensure(data="")
    made = Engine(files)
    # It waits for a gateway, of which there is none here.
    monkeypatch.setattr(rotation, "GATEWAY_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(process, "capture", made.capture)
    monkeypatch.setattr(Compose, "states", lambda _: made.states())
    return made


PROD = Project.of("prod", project="mine")
ROTATED = (kinds.DATABASE, kinds.REDIS, kinds.SERVER)


def assert_rotated(engine: Engine, name: str, before: str) -> None:
    files = engine.files
    assert files.read(name) != before
    assert not files.path(name + NEW).exists()
    assert not files.path(name + OLD).exists()
    assert all(values == engine.current() for values in engine.read.values())
    assert engine.locked_out() == []
    assert len(engine.roles) == len(engine.redis) == 1
    files.check()
    files.ensure(data="mine_db")
