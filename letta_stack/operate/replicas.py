"""The server's containers of a project during a deployment: the new ones, the old ones, and what the gateway knows."""

from __future__ import annotations

import datetime as dt
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.topology.catalogue import GATEWAY, GATEWAY_RETRY_SECONDS, SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.topology.deployed import Unfinished
    from letta_stack.topology.project import Project

KNOWN_SECONDS = 30.0
# A gateway that says nothing about its replicas asks the DNS every five seconds.
UNKNOWN_SECONDS = 6.0
UPSTREAM = "/tmp/gateway/upstream.conf"  # noqa: S108 - in the gateway's container


@dataclass(frozen=True)
class Replica:
    """One container of the server."""

    container: str
    image: str  # the name that it was created from
    created: float  # seconds of the epoch
    addresses: tuple[str, ...]
    state: str
    health: str

    @property
    def ready(self) -> bool:
        """Whether it can take requests."""
        return self.state == "running" and self.health in {"", "healthy"}

    @property
    def failed(self) -> bool:
        """Whether waiting for it is useless."""
        return self.state in {"exited", "dead", "restarting"} or self.health == "unhealthy"


def of(project: Project) -> list[Replica]:
    """Return the server's containers, the oldest first."""
    names = [one.container for one in project.runner.states() if one.service == SERVER]
    if not names:
        return []
    text = process.probe(["docker", "container", "inspect", *names]).stdout
    return sorted(map(parse, json.loads(text)), key=lambda one: one.created)


def parse(body: dict[str, Any]) -> Replica:
    """Read the JSON of `docker container inspect`."""
    networks = body["NetworkSettings"]["Networks"]
    health = body["State"].get("Health") or {}
    return Replica(
        container=body["Name"].removeprefix("/"),
        image=body["Config"]["Image"],
        # More digits than Python reads.
        created=dt.datetime.fromisoformat(body["Created"][:19] + "+00:00").timestamp(),
        addresses=tuple(one["IPAddress"] for one in networks.values() if one["IPAddress"]),
        state=body["State"]["Status"],
        health=health.get("Status", ""),
    )


def split(replicas: Sequence[Replica], begun: Unfinished) -> tuple[list[Replica], list[Replica]]:
    """Tell the new ones, made by this deployment, from the old ones."""
    # Docker's moments are cut to the second here.
    new = [
        one for one in replicas if one.image == begun.to.tag and one.created >= begun.started - 1
    ]
    return new, [one for one in replicas if one not in new]


def wait_until_known(project: Project, new: Sequence[Replica]) -> None:
    """Wait until the gateway sends requests to every new replica. Raises ``WaitTimedOut``."""
    container = next(
        (one.container for one in project.runner.states() if one.service == GATEWAY.name), ""
    )
    read = ["docker", "exec", container, "cat", UPSTREAM]
    if not container or not process.probe(read).ok:
        time.sleep(UNKNOWN_SECONDS)
        return

    def known() -> bool:
        text = process.probe(read).stdout
        return all(any(f"{one}:" in text for one in replica.addresses) for replica in new)

    wait_until(
        known, timeout=KNOWN_SECONDS, interval=0.5, describe="the gateway knows the new replicas"
    )
    time.sleep(GATEWAY_RETRY_SECONDS)


def remove(replicas: Sequence[Replica], *, drain: bool) -> None:
    """Remove containers; with ``drain`` they first end the requests that they have, up to their grace period."""
    names = [one.container for one in replicas]
    if names and drain:
        process.capture(["docker", "stop", *names])
    if names:
        process.capture(["docker", "rm", "--force", "--volumes", *names])
