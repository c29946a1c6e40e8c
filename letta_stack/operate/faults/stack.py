"""A running project as the faults see it: its containers, their processes, and the machine under them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from letta_stack.base import process
from letta_stack.errors import CommandFailed, NotRunning
from letta_stack.operate import postgres

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.base.process import Completed
    from letta_stack.operate.faults.client import Client
    from letta_stack.operate.postgres import Postgres
    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.protocol import State


ALIAS = "letta-stack-faults-model"
EDGE = "edge"  # the network on which servers reach their providers


@dataclass(frozen=True)
class Process:
    """One process of a container, with the numbers that the engine's machine gives it."""

    pid: int
    parent: int
    command: str


class Stage(Protocol):
    """What load and audit ask of a stack, whatever runs it."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def client(self) -> Client:
        """Return what sends requests to it."""

    @property
    def image(self) -> str:
        """Return the server's image on this engine."""

    def states(self) -> list[State]:
        """Return the states of the containers that count."""

    def ready(self) -> bool:
        """Say whether every container works and the API answers from the database."""

    def database(self) -> Postgres:
        """Return its database."""

    def inside(self, service: str, *command: str) -> list[str]:
        """Write the command that runs something in the first container of a service. Raises ``NotRunning``."""

    def beside(self) -> list[str]:
        """Return the options of a container that its servers can reach."""

    def address(self, container: str) -> str:
        """Return the host under which its servers reach such a container."""


@dataclass(frozen=True)
class Stack:
    """A project that was healthy when the faults began."""

    project: Project
    client: Client
    image: str  # the server's, which also gives the tools that faults need
    names: tuple[str, ...]  # of every container that has to be ready again

    @property
    def name(self) -> str:
        """Return the project's name."""
        return self.project.name

    def database(self) -> Postgres:
        """Return the project's database."""
        return postgres.of(self.project)

    def inside(self, service: str, *command: str) -> list[str]:
        """Write the command that runs something in the first container of a service."""
        return ["docker", "exec", self.containers(service)[0], *command]

    def beside(self) -> list[str]:
        """Return the options that bring a container to the servers' network."""
        return ["--network", f"{self.project.name}_{EDGE}", "--network-alias", ALIAS]

    def address(self, container: str) -> str:  # noqa: ARG002 - its alias is always the same
        """Return the alias of that network."""
        return ALIAS

    def states(self) -> list[State]:
        """Return the states of the containers that count."""
        return [one for one in self.project.runner.states() if one.container in self.names]

    def containers(self, service: str) -> list[str]:
        """Return the containers of a service, in the order of their names."""
        found = sorted(one.container for one in self.states() if one.service == service)
        if not found:
            raise NotRunning(f"{service} of {self.project.name} has no container")
        return found

    def ready(self) -> bool:
        """Say whether every container works and the API answers from the database."""
        states = self.states()
        return (
            len(states) == len(self.names)
            and all(one.ready for one in states)
            and self.client.answers()
        )

    def processes(self, container: str) -> list[Process]:
        """Return what a container's first process has started, itself first, parents before children."""
        first = int(docker("container", "inspect", "--format={{.State.Pid}}", container))
        return descendants(docker("top", container, "-eo", "pid,ppid,args"), first)

    def process(self, container: str, wanted: Callable[[Process], bool]) -> Process:
        """Return the first process of that kind. Raises ``NotRunning``."""
        for one in self.processes(container):
            if wanted(one):
                return one
        raise NotRunning(f"{container} has no such process")

    def kill(self, *pids: int) -> None:
        """Kill processes as a crash does: from outside, which also reaches a container's first one."""
        words = " ".join(map(str, pids))
        self.on_machine("sh", "-c", f"kill -KILL {words}")

    def on_machine(self, *command: str, network: str = "none") -> Completed:
        """Run a program of the engine's machine as its root, in the network that ``network`` names.

        A container with all rights does it, so that a user of the engine needs no other rights, and an engine on
        another machine is no different.
        """
        options = [
            "--privileged",
            "--pid=host",
            "--user=0",
            "--volume=/:/host",
            "--entrypoint=chroot",
        ]
        return process.probe(
            [
                "docker",
                "run",
                "--rm",
                f"--network={network}",
                *options,
                self.image,
                "/host",
                *command,
            ]
        )

    def in_network_of(self, container: str, command: str) -> None:
        """Run network tools of the engine's machine where a container has its interfaces. Raises ``CommandFailed``."""
        done = self.on_machine("sh", "-c", command, network=f"container:{container}")
        if not done.ok:
            raise CommandFailed(["sh", "-c", command], done.exit_code, done.stderr)


def descendants(text: str, first: int) -> list[Process]:
    """Read the table of `docker top CONTAINER -eo pid,ppid,args`.

    Numbers begin again at some point, so a small one is not an old one; and a health check is in the table, too.
    """
    rows = [line.split(None, 2) for line in text.splitlines()[1:]]
    known = [Process(int(pid), int(parent), command) for pid, parent, command in rows]
    found = [one for one in known if one.pid == first]
    for parent in found:  # grows meanwhile
        found += [one for one in known if one.parent == parent.pid]
    return found


def docker(*arguments: str) -> str:
    """Run a command of the engine. Raises ``CommandFailed``."""
    return process.capture(["docker", *arguments])
