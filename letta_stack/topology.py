"""What each `--env` is. Read by the tasks, by nox, by the tests and by the table in README."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.errors import BadValue

if TYPE_CHECKING:
    from collections.abc import Iterable

SERVER = "letta-server"
HEALTH_PATH = "/v1/health/"
API_PORT = 8283  # inside the container
PORT_VARIABLE = "LETTA_STACK_PORT"  # the published port of the API, in every topology


@dataclass(frozen=True)
class Topology:
    """One way to run the stack."""

    name: str
    summary: str
    entry: str  # the compose file, relative to the checkout
    services: tuple[str, ...]
    published: str  # the service that answers on the API port
    images: tuple[str, ...] = ()  # pins of the third-party images that run beside the server
    tags: tuple[str, ...] = ()  # nox's

    @property
    def default_project(self) -> str:
        """The compose project's name, unless the user gives another."""
        return f"letta-stack-{self.name}"


def catalogue(topologies: Iterable[Topology]) -> dict[str, Topology]:
    """Index by name."""
    return {topology.name: topology for topology in topologies}


TOPOLOGIES = catalogue(
    [
        Topology(
            name="single",
            summary="one container: server, PostgreSQL with pgvector, Redis, collector, one volume",
            entry="compose/single.yaml",
            services=(SERVER,),
            published=SERVER,
        ),
        Topology(
            name="dev",
            summary="server built from this tree behind nginx, with PostgreSQL and Redis; verbose logs, throw-away data",
            entry="dev-compose.yaml",
            services=(SERVER, "letta-db", "letta-redis", "letta-nginx"),
            published="letta-nginx",
            images=("POSTGRES_IMAGE", "REDIS_IMAGE", "NGINX_IMAGE"),
        ),
    ]
)


def find(name: str) -> Topology:
    """Return the topology of `--env`, or say which ones there are."""
    try:
        return TOPOLOGIES[name]
    except KeyError:
        known = ", ".join(TOPOLOGIES)
        raise BadValue(f"--env {name!r} is not a topology; use one of: {known}") from None
