"""One running, or to be run, instance of a topology: what the user's flags come to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from letta_stack.certs import store as tls
from letta_stack.errors import BadValue
from letta_stack.topology import dotenv, members
from letta_stack.topology.catalogue import PORT_VARIABLE, SERVER, find
from letta_stack.topology.model import PortFlag
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import HIGHEST_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.model import Topology
    from letta_stack.topology.runners.protocol import Runner

REPLICAS_VARIABLE = "LETTA_STACK_REPLICAS"
MOST_REPLICAS = 100
BIND_VARIABLE = "LETTA_STACK_BIND"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - only when the user says --public
DEBUG_PORT_VARIABLE = "LETTA_STACK_DEBUG_PORT"  # set by the flag alone

TLS_OVERLAY = "compose/overlays/tls.yaml"
INTERNAL_TLS_OVERLAY = "compose/overlays/internal-tls.yaml"
MONITORING_TLS_OVERLAY = "compose/overlays/internal-tls-monitoring.yaml"
DEBUG_OVERLAY = "compose/overlays/debug.yaml"


@dataclass(frozen=True)
class Project:
    """A topology under a name of its own; ``variables`` beat pins.env and .env."""

    topology: Topology
    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    replicas: int = 1

    @classmethod
    def of(
        cls,
        env: str,
        *,
        project: str = "",
        port: str = "",
        replicas: str = "",
        public: bool = False,
        database: str = "",
        **extra_ports: str,
    ) -> Project:
        """Check what the user gave; ``extra_ports`` are by the name of their flag: ``pg_port``."""
        topology = find(env)
        if project and not is_project_name(project):
            raise BadValue(
                f"--project {project!r} is not a compose project name; use lower-case letters, "
                "digits, - and _, beginning with a letter or digit"
            )
        variables = port_variables(topology, {"port": port, **extra_ports})
        count = check_replicas(topology, replicas) if replicas else 1
        if replicas:
            variables[REPLICAS_VARIABLE] = str(count)
        if public:
            variables[BIND_VARIABLE] = EVERY_ADDRESS
        made = cls(topology, project or topology.default_project, variables, count)
        return members.choose(made, database)

    def with_variables(self, variables: Mapping[str, str]) -> Project:
        """Return the same project with more variables."""
        return replace(self, variables={**self.variables, **variables})

    def setting(self, name: str) -> str:
        """Return what compose takes for a variable: from a flag, from the shell or from `.env`; "" if nobody sets it."""
        sources = (self.variables, os.environ, dotenv.values())
        return next((source[name] for source in sources if name in source), "")

    def counted(self, config: Mapping[str, Any]) -> Project:
        """Return the same project with the number of servers of its rendered model: .env may set it as well."""
        replicated = [one.name for one in self.topology.services if one.replicated]
        counts = {
            str(config["services"][name].get("deploy", {}).get("replicas", 1))
            for name in replicated
        }
        return (
            replace(self, replicas=check_replicas(self.topology, counts.pop())) if counts else self
        )

    @property
    def flags(self) -> str:
        """What a user types to mean this project."""
        project = f" --project {self.name}" if self.name != self.topology.default_project else ""
        return f"--env {self.topology.name}{project}"

    @property
    def expected(self) -> dict[str, int]:
        """How many containers of each service there are."""
        return self.topology.expected(self.replicas)

    @property
    def port_flags(self) -> dict[str, str]:
        """The flag that takes another port for a service, by the service."""
        debugger = {SERVER: "--debug-port"} if DEBUG_PORT_VARIABLE in self.variables else {}
        return {one.service: one.flag for one in port_flags(self.topology)} | debugger

    @property
    def runner(self) -> Runner:
        """What starts and stops its containers."""
        variables, overlays = dict(self.variables), []
        if self.topology.tls and tls.has_certificate(self.name):
            variables = {**tls.variables(self.name), **variables}
            overlays.append(TLS_OVERLAY)
        if self.topology.tls and tls.has_internal(self.name):
            variables = {**tls.internal_variables(self.name), **variables}
            overlays.append(INTERNAL_TLS_OVERLAY)
            overlays += [MONITORING_TLS_OVERLAY] if self.topology.monitoring else []
        if DEBUG_PORT_VARIABLE in variables:
            overlays.append(DEBUG_OVERLAY)
        return Compose(self.name, self.topology.entry, variables, tuple(overlays))


def port_flags(topology: Topology) -> tuple[PortFlag, ...]:
    """Return the flags for every port that the topology publishes."""
    api = PortFlag("--port", PORT_VARIABLE, topology.published)
    return (*((api,) if topology.published else ()), *topology.extra_ports)


def port_variables(topology: Topology, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that bring the chosen ports to compose; ``given`` is by the name of the flag."""
    known = {one.flag: one for one in port_flags(topology)}
    variables = {}
    for name, text in given.items():
        flag = f"--{name.replace('_', '-')}"
        if text and flag not in known:
            raise BadValue(
                f"{flag}: {topology.name} publishes nothing there; it has {' and '.join(known)}"
            )
        if text:
            variables[known[flag].variable] = check_port(flag, text)
    return variables


def check_port(name: str, text: str) -> str:
    """Return ``text`` if it is one port; ``name`` is the flag or variable it came from."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= HIGHEST_PORT:
        raise BadValue(f"{name} {text!r} is not a port; give a number from 1 to {HIGHEST_PORT}")
    return text


def check_replicas(topology: Topology, text: str) -> int:
    """Return the number of `--replicas`."""
    if not any(service.replicated for service in topology.services):
        raise BadValue(f"--replicas: {topology.name} runs one server; use --env prod")
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= MOST_REPLICAS:
        raise BadValue(
            f"--replicas {text!r} is not a number of servers; give one from 1 to {MOST_REPLICAS}"
        )
    return int(text)


def is_project_name(text: str) -> bool:
    """Apply compose's own rule."""
    return text[0].isalnum() and all(
        char in "abcdefghijklmnopqrstuvwxyz0123456789_-" for char in text
    )
