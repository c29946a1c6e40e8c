"""What a rotation asks of the services, for each secret: to take the new value, and to forget the old one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.certs import store as certificates
from letta_stack.errors import NotRotated
from letta_stack.secrets import kinds, monitoring, scram
from letta_stack.secrets.store import NEW, OLD
from letta_stack.topology import leader
from letta_stack.topology.catalogue import BACKUP, COLLECTOR, DASHBOARD, DATABASE, REDIS, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.secrets.store import Store
    from letta_stack.topology.project import Project


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
        raise self.stopped(service)

    @property
    def database(self) -> str:
        """The container in which the database is changed; raises ``NotRotated``, ``NoLeader``."""
        if found := leader.database(self.project):
            return found
        raise self.stopped(DATABASE.name)

    def stopped(self, service: str) -> NotRotated:
        """Say that a service is needed."""
        return NotRotated(
            f"{service} does not run; start it with `inv up {self.project.flags}`, then run this again"
        )


def _sql(one: Rotation, text: str) -> None:
    """Run SQL as the superuser, who needs no password inside the container."""
    psql = ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--username=postgres"]
    command = ["docker", "exec", "--interactive", one.database, *psql]
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
    """Do nothing: only those who read the file know the value."""


def _teach_monitor(one: Rotation, password: str) -> None:
    """Give the exporter's role its new password. It has one at a time: until the exporter is restarted, it sees nothing."""
    _sql(one, f"ALTER ROLE letta_monitor PASSWORD '{scram.verifier(password)}';\n")


@dataclass(frozen=True)
class Steps:
    """How one secret is rotated: what is done before and after its readers are restarted, in their order."""

    teach: Callable[[Rotation, str], None] = _nothing
    withdraw: Callable[[Rotation, str], None] = _nothing
    readers: tuple[str, ...] = (BACKUP, SERVER)


STEPS = {
    kinds.DATABASE: Steps(_teach_database, _withdraw_database),
    kinds.REDIS: Steps(_teach_redis, _withdraw_redis),
    kinds.SERVER: Steps(),
    monitoring.MONITOR: Steps(teach=_teach_monitor, readers=("letta-postgres-exporter",)),
    # It takes its password when it starts. What is sent meanwhile waits in the collector's queue.
    monitoring.CLICKHOUSE: Steps(
        readers=("letta-clickhouse", COLLECTOR.name, "letta-prometheus", SERVER)
    ),
    monitoring.DASHBOARD: Steps(readers=(DASHBOARD.name,)),
}
