"""The one place that knows how this project calls `docker stack`, and how to read its answers; see ``Runner``."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.errors import HostUnreachable, NotRunning
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

STACK = "com.docker.stack.namespace"
SERVICE = "com.docker.swarm.service.name"
GONE = {"shutdown", "remove", "orphaned"}  # what the swarm itself ended
UNWANTED = {"Shutdown", "Remove"}
FAILED = {"failed", "rejected"}

# Not a reason to replace a task: what the swarm fills in, and another place if the task is there already.
NO_REASON = {"DNSConfig", "Delay", "Placement", "PullOptions", "StopGracePeriod"}


@dataclass(frozen=True)
class Task:
    """A container of a service, and how its engine is asked."""

    docker: tuple[str, ...]  # how a command of its engine begins
    container: str

    def exec(self, *command: str, options: Sequence[str] = ()) -> list[str]:
        """Write the command that runs something in it."""
        return [*self.docker, "exec", *options, self.container, *command]


@dataclass(frozen=True)
class Swarm:
    """Handles the services of one stack."""

    name: str

    def deploy(self, file: Path, variables: Mapping[str, str]) -> None:
        """Create or change the services of a stack file; raise ``CommandFailed``.

        Args:
            file: the stack file, with the files that it names beside it.
            variables: what the file takes from the environment: keys that no file shows.

        """
        # No registry is asked for what the engine has; hosts that pull do so with this one's login.
        options = ["--detach=true", "--prune", "--resolve-image=never", "--with-registry-auth"]
        options.append(f"--compose-file={file}")
        process.capture(["docker", "stack", "deploy", *options, self.name], env=variables)

    def states(self) -> list[State]:
        """Return the state of every task that should run, or ended by itself."""
        newest: dict[str, Mapping[str, Any]] = {}
        for row in self._tasks():
            newest.setdefault(row["Name"], row)  # an earlier task of the slot comes later
        return [parse_task(self.name, row) for row in newest.values() if not _gone(row)]

    def alive(self, service: str) -> list[str]:
        """Return the tasks of a service that have not ended, though they may have been asked to."""
        ended = {*GONE, *FAILED, "complete"}
        return [
            row["Name"]
            for row in self._tasks()
            if _service(self.name, row) == service and _state(row) not in ended
        ]

    def failures(self) -> dict[str, str]:
        """Return the service of every task that has failed, by the task."""
        failed = [row for row in self._tasks() if _state(row) in FAILED]
        return {row["ID"]: _service(self.name, row) for row in failed}

    def _tasks(self) -> list[dict[str, Any]]:
        command = ["docker", "stack", "ps", "--no-trunc", "--format=json", self.name]
        return [json.loads(line) for line in process.probe(command).stdout.splitlines()]

    def services(self) -> dict[str, dict[str, Any]]:
        """Return what the swarm knows of each service, by its name."""
        names = process.capture(
            ["docker", "stack", "services", "--format={{.Name}}", self.name]
        ).split()
        if not names:
            return {}
        found = json.loads(process.capture(["docker", "service", "inspect", *names]))
        return {one["Spec"]["Name"].removeprefix(f"{self.name}_"): one for one in found}

    def wanted(self, hosts: int) -> dict[str, int]:
        """Return how many tasks each service should have, where ``hosts`` take tasks."""
        return {
            name: hosts if "Global" in (mode := one["Spec"]["Mode"]) else _count(mode)
            for name, one in self.services().items()
        }

    def updates(self) -> dict[str, str]:
        """Return how the last update of each service goes, by its name; "" before the first."""
        return {name: update_of(one) for name, one in self.services().items()}

    def volumes(self) -> list[str]:
        """Return the names of the stack's volumes on this host."""
        mine = f"--filter=label={STACK}={self.name}"
        return process.capture(["docker", "volume", "ls", "--quiet", mine]).split()

    def scale(self, service: str, count: int) -> None:
        """Bring a service to ``count`` tasks; raise ``CommandFailed``."""
        process.run(
            ["docker", "service", "scale", "--detach=true", f"{self.name}_{service}={count}"]
        )

    def change(self, service: str, *options: str) -> None:
        """Change a service, whose tasks are replaced one after another; raise ``CommandFailed``."""
        command = ["docker", "service", "update", "--detach=true", "--no-resolve-image"]
        process.capture([*command, "--with-registry-auth", *options, f"{self.name}_{service}"])

    def undo(self, service: str) -> None:
        """Give a service what it had before its last change; raise ``CommandFailed``."""
        process.capture(
            ["docker", "service", "rollback", "--detach=true", f"{self.name}_{service}"]
        )

    def down(self, *, volumes: bool) -> None:
        """Remove the services, with ``volumes`` the data on this host too."""
        names = self.volumes() if volumes else []
        process.run(["docker", "stack", "rm", "--detach=false", self.name])
        if names:
            process.run(["docker", "volume", "rm", *names])

    def restart(self, service: str = "") -> None:
        """Replace the tasks of one service, or of all, one after another."""
        for name in [service] if service else list(self.updates()):
            process.run(
                ["docker", "service", "update", "--force", "--detach=true", f"{self.name}_{name}"]
            )

    def ps(self) -> int:
        """Show the tasks."""
        return process.call(["docker", "stack", "ps", self.name])

    def logs(self, *, service: str, tail: int, follow: bool) -> int:
        """Show the logs of a service."""
        options = [f"--tail={tail}", *(["--follow"] if follow else [])]
        return process.call(["docker", "service", "logs", *options, f"{self.name}_{service}"])

    def execute(self, service: str, command: Sequence[str]) -> int:
        """Run a command in a task of a service; raise what ``task`` raises."""
        terminal = ["--interactive", *(["--tty"] if sys.stdin.isatty() else [])]
        return process.call(self.task(service).exec(*command, options=terminal))

    def task(self, service: str) -> Task:
        """Find a task that does its work, on this host if there is one.

        Raises:
            HostUnreachable: there are some, and no engine of theirs can be asked.
            NotRunning: there is none.

        """
        mine = f"--filter=label={SERVICE}={self.name}_{service}"
        if found := process.capture(["docker", "ps", "--quiet", mine]).split():
            return Task(("docker",), found[0])
        elsewhere = [
            row
            for row in self._tasks()
            if _service(self.name, row) == service and _state(row) == "running" and not _gone(row)
        ]
        if not elsewhere:
            raise NotRunning(
                f"no task of {service} does its work; see `docker stack ps {self.name}`"
            )
        for row in elsewhere:
            if process.probe(["docker", "context", "inspect", row["Node"]]).ok:
                docker = ("docker", "--context", row["Node"])
                return Task(docker, f"{row['Name']}.{row['ID']}")
        host = elsewhere[0]["Node"]
        raise HostUnreachable(
            f"{service} runs on {host}, and a swarm hands nothing on to a container of another host; tell docker where its "
            f"engine is: `docker context create {host} --docker host=ssh://{host}`"
        )


def _state(row: Mapping[str, Any]) -> str:
    return str(row["CurrentState"]).partition(" ")[0].lower()


def _service(stack: str, row: Mapping[str, Any]) -> str:
    return str(row["Name"]).removeprefix(f"{stack}_").partition(".")[0]


def _gone(row: Mapping[str, Any]) -> bool:
    """Say whether a task is not wanted: one of a host that is lost stays as it was last seen."""
    state = _state(row)
    return state in GONE or (state not in {*FAILED, "complete"} and row["DesiredState"] in UNWANTED)


def image_of(service: Mapping[str, Any]) -> str:
    """Return the image of a service."""
    return str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])


def _count(mode: Mapping[str, Any]) -> int:
    return int((mode.get("Replicated") or {}).get("Replicas", 1))


def update_of(service: Mapping[str, Any]) -> str:
    """Say how the last update of a service goes; in the moment before the swarm begins with one that it needs: updating."""
    if status := service.get("UpdateStatus"):
        return str(status["State"])
    spec, before = service["Spec"], service.get("PreviousSpec")
    replaced = before and bare(spec["TaskTemplate"]) != bare(before["TaskTemplate"])
    return "updating" if replaced and not _is_job(spec["Mode"]) and _count(spec["Mode"]) else ""


def bare(template: Any) -> Any:
    """Leave out of the description of tasks what is no reason to replace them."""
    if isinstance(template, dict):
        kept = {key: bare(one) for key, one in template.items() if key not in NO_REASON}
        return {key: one for key, one in kept.items() if one not in (None, {}, [])}
    return template


def _is_job(mode: Mapping[str, Any]) -> bool:
    return any(kind.endswith("Job") for kind in mode)


def parse_task(stack: str, row: Mapping[str, Any]) -> State:
    """Read one row of `docker stack ps`."""
    state = _state(row)
    service = _service(stack, row)
    code = re.search(r"non-zero exit \((\d+)\)", row["Error"])
    if state in FAILED:
        state = "exited"
    # A task with a health check is "starting" until it is healthy.
    word = {"complete": "exited", "running": "running", "exited": "exited"}.get(state, "created")
    return State(
        service, row["Name"], word, "", int(code[1]) if code else 1 if state == "exited" else 0
    )
