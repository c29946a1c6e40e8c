"""The one place that knows how this project calls compose, and how to read its answers."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.errors import CommandFailed
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"


@dataclass(frozen=True)
class Compose:
    """Runs a project with `docker compose`; see ``Runner``."""

    project: str
    entry: str
    variables: Mapping[str, str]
    overlays: Sequence[str] = ()

    def argv(self, *arguments: str) -> list[str]:
        """Write a compose command. ``.env`` is named, for compose looks for it beside the entry file."""
        dotenv = ROOT / ".env"
        override = ROOT / override_of(self.entry)
        files = [*(ROOT / one for one in (self.entry, *self.overlays)), override]
        return [
            "docker",
            "compose",
            "--project-name",
            self.project,
            *(word for file in files if file.is_file() for word in ("--file", str(file))),
            *(["--env-file", str(dotenv)] if dotenv.is_file() else []),
            *arguments,
        ]

    def config(self) -> dict[str, Any]:
        """Return what compose makes of the files."""
        rendered = process.capture(self.argv("config", "--format", "json"), env=self.variables)
        config: dict[str, Any] = json.loads(rendered)
        return config

    def states(self) -> list[State]:
        """Return the state of every container of the project, running or not.

        Asked of the engine: `compose ps` costs ten times the processor time, which the starting server needs.
        """
        labels = {PROJECT_LABEL: self.project, "com.docker.compose.oneoff": "False"}
        filters = [f"--filter=label={name}={value}" for name, value in labels.items()]
        ids = process.capture(["docker", "ps", "--all", "--quiet", *filters]).split()
        if not ids:
            return []
        # A container that is removed between the two commands is no failure.
        return parse_states(process.probe(["docker", "container", "inspect", *ids]).stdout)

    def volumes(self) -> list[str]:
        """Return the names of the project's volumes."""
        return self._labelled("volume")

    def networks(self) -> list[str]:
        """Return the ids of the project's networks."""
        return self._labelled("network")

    def _labelled(self, kind: str) -> list[str]:
        mine = f"label={PROJECT_LABEL}={self.project}"
        return process.capture(["docker", kind, "ls", "--quiet", "--filter", mine]).split()

    def up(self, services: Sequence[str] = ()) -> None:
        """Create and start; compose's own ``--wait`` now and then ends with success too early, so it is not used."""
        command = self.argv("up", "--detach", "--remove-orphans", "--no-build", *services)
        started = process.probe(command, env=self.variables)
        if not started.ok:
            raise CommandFailed(command, started.exit_code, started.stderr)

    def scale(self, service: str, count: int) -> None:
        """Bring a service to ``count`` containers and leave those that are there as they are."""
        options = ["--detach", "--no-build", "--no-deps", "--no-recreate"]
        command = self.argv("up", *options, "--scale", f"{service}={count}", service)
        process.capture(command, env=self.variables)

    def run_once(self, service: str) -> None:
        """Run a one-shot service to its end, in a container of its own."""
        process.run(self.argv("run", "--rm", "--no-deps", service), env=self.variables)

    def down(self, *, volumes: bool) -> None:
        """Remove the containers, with ``volumes`` the data too."""
        options = ["--volumes"] if volumes else []
        process.run(self.argv("down", "--remove-orphans", *options), env=self.variables)
        if not volumes:
            return
        # Those of services that the settings have no more.
        if left := self.volumes():
            process.run(["docker", "volume", "rm", *left])
        # One that somebody else is in stays, as it does with compose.
        for network in self.networks():
            process.probe(["docker", "network", "rm", network])

    def restart(self, service: str = "") -> None:
        """Restart one service, or all in the order of their dependencies."""
        process.run(self.argv("restart", *([service] if service else [])), env=self.variables)

    def ps(self) -> int:
        """Show the containers."""
        return self._call("ps", "--all")

    def logs(self, *, service: str, tail: int, follow: bool) -> int:
        """Show logs."""
        options = ["--follow"] if follow else []
        return self._call("logs", "--tail", str(tail), *options, *([service] if service else []))

    def execute(self, service: str, command: Sequence[str]) -> int:
        """Run a command in a service; without a terminal on stdin none is asked for."""
        terminal = [] if sys.stdin.isatty() else ["--no-TTY"]
        return self._call("exec", *terminal, service, *command)

    def show_config(self) -> int:
        """Show what compose makes of the files."""
        return self._call("config")

    def _call(self, *arguments: str) -> int:
        return process.call(self.argv(*arguments), env=self.variables)


def override_of(entry: str) -> str:
    """Name the file in which users change an entry without editing it, as compose itself names it."""
    return f"{entry.removesuffix('.yaml')}.override.yaml"


def parse_states(text: str) -> list[State]:
    """Read the JSON of `docker container inspect`."""
    return [
        State(
            service=container["Config"]["Labels"][SERVICE_LABEL],
            container=container["Name"].removeprefix("/"),
            state=container["State"]["Status"],
            health=(container["State"].get("Health") or {}).get("Status", ""),
            exit_code=container["State"]["ExitCode"],
        )
        for container in json.loads(text)
    ]
