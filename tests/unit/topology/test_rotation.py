"""A rotation that is killed at any point and called again: nobody is locked out meanwhile, and the end is the same."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.errors import NotRotated, NotRunning
from letta_stack.secrets import kinds, scram, store
from letta_stack.secrets.store import NEW, OLD, Store
from letta_stack.topology import rotation
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

REPLICAS = ("mine-letta-server-1", "mine-letta-server-2")
LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()


class Killed(BaseException):
    """What ends the process, at a point of the test's choice."""


class Engine:
    """Containers as the rotation sees them: roles, Redis's passwords, and servers with what they have read."""

    def __init__(self, files: Store) -> None:
        self.files = files
        uri = files.read(kinds.DATABASE)
        self.roles = {kinds.login(uri): scram.verifier(kinds.password(kinds.DATABASE, uri))}
        self.redis = {rotation._hash(files.read(kinds.REDIS))}  # noqa: SLF001 - how Redis writes it
        self.started = dict.fromkeys(REPLICAS, LONG_AGO)
        self.read = {name: self.current() for name in REPLICAS}
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
        if argv[1] == "inspect":
            moment = dt.datetime.fromtimestamp(self.started[argv[-1]], tz=dt.UTC)
            return f"{moment:%Y-%m-%dT%H:%M:%S.%f}789Z\n"
        if argv[1] == "restart":
            self.started[argv[-1]] = time.time()
            self.read[argv[-1]] = self.current()
            return ""
        if "redis-cli" in argv:
            login, change = stdin.splitlines()
            assert rotation._hash(login.removeprefix("AUTH ")) in self.redis  # noqa: SLF001
            if " resetpass " in change:
                self.redis.clear()
            self.redis.add(change.rpartition(" ")[2])
            return "OK\nOK\n"
        for role, action, verifier in re.findall(
            r"ALTER ROLE (\w+) (LOGIN|NOLOGIN) PASSWORD (\S+);", stdin
        ):
            self.roles.pop(role, None)
            if action == "LOGIN":
                self.roles[role] = verifier.strip("'")
        return ""

    def locked_out(self) -> list[str]:
        """Return the servers whose values PostgreSQL or Redis does not take."""
        return [name for name, values in self.read.items() if not self.takes(values)]

    def takes(self, values: dict[str, str]) -> bool:
        uri = values[kinds.DATABASE]
        known = self.roles.get(kinds.login(uri), "")
        database = scram.matches(kinds.password(kinds.DATABASE, uri), known)
        return database and rotation._hash(values[kinds.REDIS]) in self.redis  # noqa: SLF001

    def states(self) -> list[State]:
        names = dict.fromkeys(REPLICAS, "letta-server")
        names |= {"mine-letta-db-1": "letta-db", "mine-letta-redis-1": "letta-redis"}
        return [State(service, name, "running", "healthy", 0) for name, service in names.items()]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(store, "SECRETS", tmp_path)
    files = Store(tmp_path / "mine")
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


@pytest.mark.parametrize("name", ROTATED)
def test_a_rotation_ends_with_the_new_value_everywhere_and_the_old_one_nowhere(
    engine: Engine, name: str
) -> None:
    before = engine.files.read(name)

    rotation.rotate(PROD, name)

    assert_rotated(engine, name, before)


@pytest.mark.parametrize("name", ROTATED)
@pytest.mark.parametrize("moment", ["kill_before", "kill_after"])
@pytest.mark.parametrize("call", range(1, 7))
def test_killed_between_two_commands_it_locks_nobody_out_and_can_be_finished(
    engine: Engine, name: str, moment: str, call: int
) -> None:
    before = engine.files.read(name)
    setattr(engine, moment, call)
    try:
        rotation.rotate(PROD, name)
    except Killed:
        assert engine.locked_out() == []
        # A server that starts just now reads what is there.
        engine.execute(["docker", "restart", REPLICAS[0]], "")
        assert engine.locked_out() == []
        engine.files.ensure(data="mine_db")

        rotation.rotate(PROD, name)

    assert_rotated(engine, name, before)


@pytest.mark.parametrize("name", ROTATED)
@pytest.mark.parametrize("number", range(1, 6))
def test_killed_before_any_change_of_a_file_it_can_be_finished(
    engine: Engine, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = engine.files.read(name)
    renames, armed = 0, True
    rename = type(engine.files.directory).rename

    def killing(path: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if armed and renames == number:
            raise Killed
        return rename(path, target)

    monkeypatch.setattr(type(engine.files.directory), "rename", killing)
    try:
        rotation.rotate(PROD, name)
    except Killed:
        assert engine.locked_out() == []
        rotation.rotate(PROD, name)
    armed = False

    assert_rotated(engine, name, before)


def test_the_encryption_key_stays(engine: Engine) -> None:
    with pytest.raises(NotRotated, match="cannot be rotated"):
        rotation.rotate(PROD, kinds.ENCRYPTION_KEY)

    assert engine.calls == 0


def test_a_stack_that_is_down_is_left_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compose, "states", lambda _: [])

    with pytest.raises(NotRunning):
        rotation.rotate(PROD, kinds.REDIS)

    assert not engine.files.path(kinds.REDIS + NEW).exists()


def test_a_server_goes_only_while_the_others_do_their_work(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    wait, execute = rotation._wait_until_ready, engine.execute  # noqa: SLF001 - watched, not replaced

    def waiting(project: Any, state: Any) -> None:
        order.append(f"wait for {state.container}")
        wait(project, state)

    def executing(argv: list[str], stdin: str) -> str:
        if argv[1] == "restart":
            order.append(f"restart {argv[-1]}")
        return execute(argv, stdin)

    monkeypatch.setattr(rotation, "_wait_until_ready", waiting)
    monkeypatch.setattr(engine, "execute", executing)
    rotation.rotate(PROD, kinds.DATABASE)

    first, second = REPLICAS
    assert order == [
        *(f"wait for {second}", f"restart {first}", f"wait for {first}"),
        *(f"wait for {first}", f"restart {second}", f"wait for {second}"),
    ]
