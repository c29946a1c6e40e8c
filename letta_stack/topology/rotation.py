"""Changes a secret of a running project: the new value works before the old one stops to.

    1. write the new value beside the old one (NAME.new)
    2. teach PostgreSQL or Redis the new one; both work from now on
    3. keep the old value (NAME.old), put the new one in its place
    4. restart the servers, one after the other; each first ends the requests that it has
    5. take the old value from PostgreSQL or Redis, and delete it

Killed anywhere, the project goes on to work, and the same command goes on from there.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import console, lock, process
from letta_stack.base.wait import wait_until
from letta_stack.certs import store as certificates
from letta_stack.errors import NotRotated, WaitTimedOut
from letta_stack.secrets import kinds, scram
from letta_stack.secrets.store import NEW, OLD
from letta_stack.topology import lifecycle, secret_files
from letta_stack.topology.catalogue import BACKUP, DATABASE, GATEWAY_RETRY_SECONDS, REDIS, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.secrets.store import Store
    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.protocol import State

HEALTHY_SECONDS = lifecycle.HEALTHY_SECONDS
CLOCK_SECONDS = 1.0  # by how much the engine's clock and this machine's may differ


def rotate(project: Project, name: str) -> None:
    """Give a running project a new secret, or finish what an interrupted rotation left.

    Raises BadValue, NotRunning, NotRotated, ProjectLocked, ServiceFailed.
    """
    kinds.check_name(name)
    if name == kinds.ENCRYPTION_KEY:
        raise NotRotated(
            "the encryption key cannot be rotated: the server has no way to encrypt anew what it encrypted with "
            "the old one, and would fail to read it"
        )
    mine = secret_files.store(project)
    with lock.held(project.name):
        lifecycle.require_running(project)
        mine.check()
        _rotate(Rotation(project, mine, name))
    console.say(f"{name} of {project.name} is rotated: inv secrets.show {name} {project.flags}")


@dataclass(frozen=True)
class Rotation:
    """One secret of one project."""

    project: Project
    store: Store
    name: str

    @property
    def new(self) -> str:
        """The file of the next value."""
        return self.name + NEW

    @property
    def old(self) -> str:
        """The file of the last value."""
        return self.name + OLD

    def container(self, service: str) -> str:
        """Return the name of a running container; raise ``NotRotated``."""
        for state in self.project.runner.states():
            if state.service == service and state.state == "running":
                return state.container
        raise NotRotated(
            f"{service} does not run; start it with `inv up {self.project.flags}`, then run this again"
        )


def _rotate(one: Rotation) -> None:
    teach, withdraw = _STEPS[one.name]
    store = one.store
    if store.path(one.new).exists() or not store.path(one.old).exists():
        if not store.path(one.new).exists():
            login = kinds.LOGINS[0]
            if one.name == kinds.DATABASE:
                login = kinds.other_login(kinds.login(store.read(one.name)))
            store.write(one.new, kinds.new(one.name, login=login))
        teach(one, store.read(one.new))
        if not store.path(one.old).exists():
            os.link(store.path(one.name), store.path(one.old))
        store.path(one.new).rename(store.path(one.name))
    store.record()
    # The kernel sets this time when the old value loses its first name.
    _restart_servers(one.project, since=store.path(one.old).stat().st_ctime)
    withdraw(one, store.read(one.old))
    store.path(one.old).unlink()


def _restart_servers(project: Project, *, since: float) -> None:
    """Restart the servers that were started before ``since`` (seconds of the epoch), one after the other.

    The engine goes on with a restart whose command was killed, so the others must be ready before each one.
    """
    states = project.runner.states()
    for state in states:
        if state.service == BACKUP:
            process.capture(["docker", "restart", state.container])
    servers = [state for state in states if state.service == SERVER]
    for state in servers:
        if started(state.container) > since + CLOCK_SECONDS:
            _wait_until_ready(project, state)
            continue
        others = [other for other in servers if other.container != state.container]
        for other in others:
            _wait_until_ready(project, other)
        if others:
            time.sleep(GATEWAY_RETRY_SECONDS)
        console.say(f"restarting {state.container}; it first ends the requests that it has")
        process.capture(["docker", "restart", state.container])
        _wait_until_ready(project, state)


def _wait_until_ready(project: Project, wanted: State) -> None:
    def ready() -> bool:
        return any(
            state.ready for state in project.runner.states() if state.container == wanted.container
        )

    try:
        wait_until(ready, timeout=HEALTHY_SECONDS, interval=0.5, describe="")
    except WaitTimedOut:
        raise NotRotated(
            f"{wanted.container} is not healthy after {HEALTHY_SECONDS:g} s with the new value; see `inv logs "
            f"{project.flags}`, then run this again; the old value works until then"
        ) from None


def started(container: str) -> float:
    """Return when a container was started, in seconds of the epoch."""
    text = process.capture(["docker", "inspect", "--format", "{{.State.StartedAt}}", container])
    # More digits than Python reads.
    seconds, _, fraction = text.strip().removesuffix("Z").partition(".")
    moment = dt.datetime.fromisoformat(seconds).replace(tzinfo=dt.UTC)
    return moment.timestamp() + float(f"0.{fraction or 0}")


def _sql(one: Rotation, text: str) -> None:
    """Run SQL as the superuser, who needs no password inside the container."""
    psql = ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--username=postgres"]
    command = ["docker", "exec", "--interactive", one.container(DATABASE.name), *psql]
    process.capture([*command, "--dbname=postgres", "--output=/dev/null"], stdin=text)


def _teach_database(one: Rotation, uri: str) -> None:
    verifier = scram.verifier(kinds.password(one.name, uri))
    _sql(one, f"ALTER ROLE {kinds.login(uri)} LOGIN PASSWORD '{verifier}';\n")


def _withdraw_database(one: Rotation, uri: str) -> None:
    role = kinds.login(uri)
    _sql(
        one,
        f"ALTER ROLE {role} NOLOGIN PASSWORD NULL;\n"
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}';\n",
    )


def _redis(one: Rotation, change: str) -> None:
    """Change the passwords of a running Redis; each line of standard input is a command."""
    # Over loopback, under a name for which it has no certificate.
    tls = ["--tls", "--insecure"] if certificates.has_internal(one.project.name) else []
    command = ["docker", "exec", "--interactive", one.container(REDIS.name), "redis-cli", *tls]
    login = f"AUTH {one.store.read(one.name)}"
    answers = process.capture(command, stdin=f"{login}\nACL SETUSER default {change}\n").split()
    if answers != ["OK", "OK"]:
        raise NotRotated(
            f"Redis does not take the change ({' '.join(answers)}); is it the one that "
            f"`inv up {one.project.flags}` started?"
        )


def _hash(password: str) -> str:
    return f"#{hashlib.sha256(password.encode('ascii')).hexdigest()}"


def _teach_redis(one: Rotation, password: str) -> None:
    _redis(one, _hash(password))


def _withdraw_redis(one: Rotation, _password: str) -> None:
    _redis(one, f"resetpass {_hash(one.store.read(one.name))}")


def _nothing(_one: Rotation, _value: str) -> None:
    """Do nothing: the servers alone know their password."""


_STEPS: dict[str, tuple[Callable[[Rotation, str], None], Callable[[Rotation, str], None]]] = {
    kinds.DATABASE: (_teach_database, _withdraw_database),
    kinds.REDIS: (_teach_redis, _withdraw_redis),
    kinds.SERVER: (_nothing, _nothing),
}
