"""How a server, or a test, on this machine finds PostgreSQL and Redis: the variables that Letta reads."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from letta_stack.base import process
from letta_stack.errors import BadValue, NotRunning
from letta_stack.topology.catalogue import DATABASE, REDIS

if TYPE_CHECKING:
    from letta_stack.topology.project import Project

POSTGRES_PORT = 5432  # inside the container
REDIS_PORT = 6379  # inside the container
EVERYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104 - read, not bound


def lines(project: Project) -> str:
    """Return the variables as lines for a POSIX shell.

    Raises:
        BadValue: the topology publishes no database.
        NotRunning: a service is not up, or not healthy.

    """
    return "\n".join(
        f"export {name}={shlex.quote(value)}" for name, value in variables(project).items()
    )


def variables(project: Project) -> dict[str, str]:
    """Read where the running containers are published, whatever flags they were started with."""
    if not {DATABASE.name, REDIS.name} <= {one.service for one in project.topology.extra_ports}:
        raise BadValue(
            f"{project.topology.name} publishes no database and no Redis; use --env services"
        )
    containers = {
        state.service: state.container for state in project.runner.states() if state.ready
    }
    for service in project.topology.names:
        if service not in containers:
            raise NotRunning(
                f"{service} of {project.name} is not up; start it with `inv up {project.flags}`"
            )
    database, redis = inspect(containers[DATABASE.name]), inspect(containers[REDIS.name])
    settings = dict(one.split("=", 1) for one in database["Config"]["Env"])
    user, password = (quote(settings[f"POSTGRES_{name}"], safe="") for name in ("USER", "PASSWORD"))
    postgres_host, postgres_port = address(database, POSTGRES_PORT)
    redis_host, redis_port = address(redis, REDIS_PORT)
    where = f"{postgres_host}:{postgres_port}/{settings['POSTGRES_DB']}"
    return {
        "LETTA_PG_URI": f"postgresql://{user}:{password}@{where}",
        "LETTA_REDIS_HOST": redis_host,
        "LETTA_REDIS_PORT": redis_port,
    }


def inspect(container: str) -> dict[str, Any]:
    """Return the engine's view of a container."""
    (found,) = json.loads(process.capture(["docker", "container", "inspect", container]))
    view: dict[str, Any] = found
    return view


def address(container: dict[str, Any], port: int) -> tuple[str, str]:
    """Return host and port of this machine behind which a container's port is."""
    (binding, *_) = container["NetworkSettings"]["Ports"][f"{port}/tcp"]
    host = binding["HostIp"]
    return "127.0.0.1" if host in EVERYWHERE else host, binding["HostPort"]
