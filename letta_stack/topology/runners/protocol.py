"""The verbs that every runner has, and what it says about containers."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from letta_stack.errors import BadValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HIGHEST_PORT = 65535


@dataclass(frozen=True)
class State:
    """How one container is."""

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
    def ended_well(self) -> bool:
        """Whether the container has ended with success, as a one-shot service does."""
        return self.state == "exited" and self.exit_code == 0

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
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        if self.address in {"", "0.0.0.0", "127.0.0.1"}:  # noqa: S104 - read, not bound
            return f"{self.scheme}://localhost:{self.port}"
        if self.address in {"::", "::1"}:  # `localhost` may be 127.0.0.1 alone
            return f"{self.scheme}://[::1]:{self.port}"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{host}:{self.port}"


TLS_PORT = 8443  # inside the gateway


class Runner(Protocol):
    """Handles the containers of one project."""

    def config(self) -> dict[str, Any]:
        """Return the rendered model: services, networks, volumes."""

    def states(self) -> list[State]:
        """Return the state of every container, running or not."""

    def volumes(self) -> list[str]:
        """Return the names of the project's volumes."""

    def up(self, services: Sequence[str] = ()) -> None:
        """Create and start what is missing or changed; raise ``CommandFailed``."""

    def scale(self, service: str, count: int) -> None:
        """Bring a service to ``count`` containers, the present ones untouched; raise ``CommandFailed``."""

    def run_once(self, service: str) -> None:
        """Run a one-shot service to its end; raise ``CommandFailed``."""

    def down(self, *, volumes: bool) -> None:
        """Remove the containers, with ``volumes`` the data too."""

    def restart(self, service: str = "") -> None:
        """Restart one service, or all."""

    def ps(self) -> int:
        """Show the containers; return the exit code."""

    def logs(self, *, service: str, tail: int, follow: bool) -> int:
        """Show logs; return the exit code."""

    def execute(self, service: str, command: Sequence[str]) -> int:
        """Run a command in a service; return its exit code."""

    def show_config(self) -> int:
        """Show the rendered model; return the exit code."""


def published(config: Mapping[str, Any]) -> list[Published]:
    """Read the published ports of a rendered model; raise BadValue for what is no port or no address."""
    return [
        Published(
            service,
            ip_address(service, port.get("host_ip", "")),
            port_number(service, str(port["published"])),
            "https" if port.get("target") == TLS_PORT else "http",
        )
        for service, body in config["services"].items()
        for port in body.get("ports") or []
        if port.get("published")
    ]


def port_number(service: str, text: str) -> int:
    """Read one port; compose itself takes ranges, and hands on whatever else it is given."""
    if text.isascii() and text.isdigit() and 0 < int(text) <= HIGHEST_PORT:
        return int(text)
    raise BadValue(
        f"{service} cannot be published on port {text!r}; give one number from 1 to {HIGHEST_PORT}, "
        "for the API in LETTA_STACK_PORT"
    )


def ip_address(service: str, text: str) -> str:
    """Read the address to listen on; the engine's own complaint comes after everything was built."""
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError:
        raise BadValue(
            f"{service} cannot be published on address {text!r}; give an IP address of this machine in "
            "LETTA_STACK_BIND, for instance 127.0.0.1, ::1 or 0.0.0.0"
        ) from None


def summarise(states: Sequence[State], expected: Mapping[str, int]) -> str:
    """Say in one line how far the services are."""
    parts = []
    for service in expected:
        mine = [state for state in states if state.service == service]
        parts += list(dict.fromkeys(map(str, mine))) or [f"{service} not created"]
    return ", ".join(parts)
