"""What a topology is made of; the topologies themselves are in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Service:
    """One service of a topology."""

    name: str
    image: str = ""  # the pin of its image; "" is the server's own
    one_shot: bool = False  # ends with code 0 when its work is done
    replicated: bool = False  # `--replicas N` makes N containers of it
    optional: bool = False  # not in every variant of the topology; no Debian package has its image


@dataclass(frozen=True)
class PortFlag:
    """A flag of `inv up` that takes another port of this machine for a service."""

    flag: str
    variable: str  # where compose reads it
    service: str


@dataclass(frozen=True)
class Topology:
    """One way to run the stack."""

    name: str
    summary: str
    entry: str  # what the runner reads, relative to the checkout
    services: tuple[Service, ...]
    published: str = ""  # the service that answers on the API port; "" if none does
    extra_ports: tuple[PortFlag, ...] = ()  # published beside the API, or in its place
    mounts_source: bool = False  # runs the modules of `--letta-source` itself, not a build of it
    secrets: bool = (
        False  # whether its passwords are files that are generated before the first start
    )
    monitoring: bool = False  # whether dashboards and alerts are part of it
    backups: bool = False  # whether a service of it can make them on a schedule
    tls: bool = False  # whether its gateway takes a certificate
    language_model: bool = False  # whether `--llm` and `--llm-endpoint` say what serves its model
    members: tuple[
        str, ...
    ] = ()  # the services that are PostgreSQL, where one alone would not survive its loss
    tags: tuple[str, ...] = ()  # nox's

    @property
    def default_project(self) -> str:
        """The project's name, unless the user gives another."""
        return f"letta-stack-{self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the services."""
        return tuple(service.name for service in self.services)

    @property
    def images(self) -> tuple[str, ...]:
        """The pins of the third-party images that every variant has, each once."""
        return tuple(
            dict.fromkeys(one.image for one in self.services if one.image and not one.optional)
        )

    @property
    def one_shots(self) -> frozenset[str]:
        """The names of the services that end when their work is done."""
        return frozenset(service.name for service in self.services if service.one_shot)

    @property
    def has_server(self) -> bool:
        """Whether a service runs the server's image."""
        return any(not service.image for service in self.services)

    def expected(self, replicas: int) -> dict[str, int]:
        """Return how many containers of each service there are at least when ``replicas`` are wanted."""
        return {
            one.name: replicas if one.replicated else 1 for one in self.services if not one.optional
        }
