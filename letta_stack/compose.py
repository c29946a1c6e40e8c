"""The one place that knows how this project calls compose, and how to read its answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from letta_stack import process
from letta_stack.errors import BadValue
from letta_stack.paths import ROOT
from letta_stack.topology import PORT_VARIABLE, Topology, find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HIGHEST_PORT = 65535
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"


@dataclass(frozen=True)
class Stack:
    """One running, or to be run, instance of a topology."""

    topology: Topology
    project: str
    variables: Mapping[str, str] = field(default_factory=dict)  # beat pins.env and .env

    @classmethod
    def of(cls, env: str, *, project: str = "", port: str = "") -> Stack:
        """Check what the user gave."""
        topology = find(env)
        variables = {}
        if port:
            if not port.isascii() or not port.isdigit() or not 0 < int(port) <= HIGHEST_PORT:
                raise BadValue(
                    f"--port {port!r} is not a port; give a number from 1 to {HIGHEST_PORT}"
                )
            variables[PORT_VARIABLE] = port
        if project and not is_project_name(project):
            raise BadValue(
                f"--project {project!r} is not a compose project name; use lower-case letters, "
                "digits, - and _, beginning with a letter or digit"
            )
        return cls(topology, project or topology.default_project, variables)

    def with_variables(self, variables: Mapping[str, str]) -> Stack:
        """Return the same stack with more variables."""
        return Stack(self.topology, self.project, {**self.variables, **variables})

    @property
    def flags(self) -> str:
        """What a user types to mean this stack."""
        project = (
            f" --project {self.project}" if self.project != self.topology.default_project else ""
        )
        return f"--env {self.topology.name}{project}"

    def argv(self, *arguments: str) -> list[str]:
        """Write a compose command. ``.env`` is named, for compose looks for it beside the entry file."""
        dotenv = ROOT / ".env"
        return [
            "docker",
            "compose",
            "--project-name",
            self.project,
            "--file",
            str(ROOT / self.topology.entry),
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


@dataclass(frozen=True)
class State:
    """What compose says about one container."""

    service: str
    container: str
    state: str  # created, running, restarting, exited, ...
    health: str  # "" if the service has no health check
    exit_code: int

    @property
    def ready(self) -> bool:
        """Whether the container does its work."""
        return self.state == "running" and self.health in {"", "healthy"}

    @property
    def failed(self) -> bool:
        """Whether waiting longer is useless."""
        return self.health == "unhealthy" or self.state in {"exited", "dead", "restarting"}

    def __str__(self) -> str:
        """Say what state the service is in."""
        if self.state in {"exited", "dead", "restarting"}:
            return f"{self.service} {self.state} with code {self.exit_code}"
        return f"{self.service} {self.health or self.state}"


@dataclass(frozen=True)
class Published:
    """A port on this machine."""

    service: str
    address: str
    port: int

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = "localhost" if self.address in {"", "0.0.0.0", "::", "127.0.0.1"} else self.address  # noqa: S104 - read, not bound
        return f"http://{host}:{self.port}"


def is_project_name(text: str) -> bool:
    """Apply compose's own rule."""
    return text[0].isalnum() and all(
        char in "abcdefghijklmnopqrstuvwxyz0123456789_-" for char in text
    )


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


def published(config: Mapping[str, Any]) -> list[Published]:
    """Read the published ports of a rendered configuration."""
    return [
        Published(service, port.get("host_ip", ""), int(port["published"]))
        for service, body in config["services"].items()
        for port in body.get("ports") or []
        if port.get("published")
    ]


def summarise(states: Sequence[State], services: Sequence[str]) -> str:
    """Say in one line how far the services are."""
    by_service = {state.service: str(state) for state in states}
    return ", ".join(by_service.get(service, f"{service} not created") for service in services)
