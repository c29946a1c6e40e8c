"""What the flags of `inv up` made of a project, read from its containers: other commands that bring it up know no such flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.topology.catalogue import PORT_VARIABLE, SERVER
from letta_stack.topology.project import (
    BIND_VARIABLE,
    EVERY_ADDRESS,
    REPLICAS_VARIABLE,
    port_flags,
)
from letta_stack.topology.runners.protocol import TLS_PORT

if TYPE_CHECKING:
    from letta_stack.topology.project import Project


def keep(project: Project) -> Project:
    """Return a project with the ports, the address and the number of servers that its containers have.

    What `.env` or the shell sets stays as it is set there.
    """
    containers = {one.service: one.container for one in project.runner.states()}
    found: dict[str, str] = {}
    for flag in port_flags(project.topology):
        address, port = published(containers.get(flag.service, ""))
        if port:
            found[flag.variable] = port
        if flag.variable == PORT_VARIABLE and address == EVERY_ADDRESS:
            found[BIND_VARIABLE] = EVERY_ADDRESS
    count = sum(one.service == SERVER for one in project.runner.states())
    if count and any(one.replicated for one in project.topology.services):
        found[REPLICAS_VARIABLE] = str(count)
    return project.with_variables(
        {name: value for name, value in found.items() if not project.setting(name)}
    )


def published(container: str) -> tuple[str, str]:
    """Return address and port of this machine at which a container is published, "" for none."""
    lines = process.probe(["docker", "port", container]).stdout.splitlines() if container else []
    # Where the gateway speaks TLS, plain HTTP is there as well, under a variable that is no flag.
    secure = [line for line in lines if line.startswith(f"{TLS_PORT}/")]
    for line in secure or lines:
        address, _, port = line.rpartition(" ")[2].rpartition(":")
        return address, port
    return "", ""
