"""The one place that knows how this project calls `docker stack`, and how to read its answers; see ``Runner``."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.errors import NotRunning
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

STACK = "com.docker.stack.namespace"
SERVICE = "com.docker.swarm.service.name"
GONE = {"shutdown", "remove", "orphaned"}  # what the swarm itself ended
FAILED = {"failed", "rejected"}


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
        # No registry is asked for what the engine has.
        options = ["--detach=true", "--prune", "--resolve-image=never", f"--compose-file={file}"]
        process.capture(["docker", "stack", "deploy", *options, self.name], env=variables)

    def states(self) -> list[State]:
        """Return the state of every task that should run, or ended by itself."""
        newest: dict[str, Mapping[str, Any]] = {}
        for row in self._tasks():
            newest.setdefault(row["Name"], row)  # an earlier task of the slot comes later
        return [parse_task(self.name, row) for row in newest.values() if _state(row) not in GONE]

    def failures(self) -> dict[str, str]:
        """Return the service of every task that has failed, by the task."""
        failed = [row for row in self._tasks() if _state(row) in FAILED]
        return {row["ID"]: parse_task(self.name, row).service for row in failed}

    def _tasks(self) -> list[dict[str, Any]]:
        command = ["docker", "stack", "ps", "--no-trunc", "--format=json", self.name]
        return [json.loads(line) for line in process.probe(command).stdout.splitlines()]

    def updates(self) -> dict[str, str]:
        """Return how the last update of each service goes, by its name; "" before the first."""
        names = process.capture(
            ["docker", "stack", "services", "--format={{.Name}}", self.name]
        ).split()
        if not names:
            return {}
        found = json.loads(process.capture(["docker", "service", "inspect", *names]))
        return {
            one["Spec"]["Name"].removeprefix(f"{self.name}_"): (one.get("UpdateStatus") or {}).get(
                "State", ""
            )
            for one in found
        }

    def volumes(self) -> list[str]:
        """Return the names of the stack's volumes on this host."""
        mine = f"--filter=label={STACK}={self.name}"
        return process.capture(["docker", "volume", "ls", "--quiet", mine]).split()

    def scale(self, service: str, count: int) -> None:
        """Bring a service to ``count`` tasks; raise ``CommandFailed``."""
        process.run(
            ["docker", "service", "scale", "--detach=true", f"{self.name}_{service}={count}"]
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
        """Run a command in a task of a service on this host; raise ``NotRunning`` if none is here."""
        terminal = ["--interactive", *(["--tty"] if sys.stdin.isatty() else [])]
        return process.call(["docker", "exec", *terminal, self.container(service), *command])

    def container(self, service: str) -> str:
        """Return the container of a task of a service on this host; raise ``NotRunning`` if none is here."""
        mine = f"--filter=label={SERVICE}={self.name}_{service}"
        found = process.capture(["docker", "ps", "--quiet", mine]).split()
        if not found:
            raise NotRunning(
                f"no task of {service} runs on this host; `inv ps --env swarm` says where one does"
            )
        return str(found[0])


def _state(row: Mapping[str, Any]) -> str:
    return str(row["CurrentState"]).partition(" ")[0].lower()


def parse_task(stack: str, row: Mapping[str, Any]) -> State:
    """Read one row of `docker stack ps`."""
    state = _state(row)
    service = row["Name"].removeprefix(f"{stack}_").partition(".")[0]
    code = re.search(r"non-zero exit \((\d+)\)", row["Error"])
    if state in FAILED:
        state = "exited"
    # A task with a health check is "starting" until it is healthy.
    word = {"complete": "exited", "running": "running", "exited": "exited"}.get(state, "created")
    return State(
        service, row["Name"], word, "", int(code[1]) if code else 1 if state == "exited" else 0
    )
