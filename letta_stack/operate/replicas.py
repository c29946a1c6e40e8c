"""The server's containers of a project during a deployment: the new ones, the old ones, and what the gateway knows."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, process
from letta_stack.base.wait import wait_until
from letta_stack.errors import WaitTimedOut
from letta_stack.topology.catalogue import (
    GATEWAY,
    GATEWAY_KEEPS_SECONDS,
    GATEWAY_RETRY_SECONDS,
    SERVER,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.topology.deployed import Unfinished
    from letta_stack.topology.project import Project

KNOWN_SECONDS = 30.0
# A gateway that says nothing about its replicas asks the DNS every five seconds.
UNKNOWN_SECONDS = 6.0
LEFT_OUT_SECONDS = 15.0
UPSTREAM = "/tmp/gateway/upstream.conf"  # noqa: S108 - in the gateway's container
LEAVING = "/tmp/gateway/leaving"  # noqa: S108 - in the gateway's container


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
    container = gateway(project)
    if known(container) is None:
        time.sleep(UNKNOWN_SECONDS)
        return
    wait_until(
        lambda: all((known(container) or set()) & set(one.addresses) for one in new),
        timeout=KNOWN_SECONDS,
        interval=0.5,
        describe="the gateway knows the new replicas",
    )
    time.sleep(GATEWAY_RETRY_SECONDS)


def leave_out(project: Project, old: Sequence[Replica]) -> None:
    """Let the gateway send nothing more to replicas that are about to stop.

    One that stops closes the connections that the gateway keeps to it; a message that is sent in that moment is lost, and may not
    be sent again.
    """
    container = gateway(project)
    addresses = {address for one in old for address in one.addresses}
    if not addresses or known(container) is None:
        return
    script = f'printf "%s\\n" "$@" >{LEAVING}'
    process.probe(["docker", "exec", container, "sh", "-c", script, "sh", *sorted(addresses)])
    try:
        wait_until(
            lambda: not (known(container) or set()) & addresses,
            timeout=LEFT_OUT_SECONDS,
            interval=0.5,
            describe="the gateway still sends requests to the old replicas",
        )
    except WaitTimedOut as error:
        console.say(f"{error}; a message that meets their end will be lost")
    else:
        # A busy machine takes seconds for the reload itself.
        time.sleep(GATEWAY_KEEPS_SECONDS + GATEWAY_RETRY_SECONDS)


def gateway(project: Project) -> str:
    """Return the container of the gateway, "" if there is none."""
    found = (one.container for one in project.runner.states() if one.service == GATEWAY.name)
    return next(found, "")


def known(container: str) -> set[str] | None:
    """Return the addresses that a gateway sends requests to, None if it does not say."""
    if not container:
        return None
    said = process.probe(["docker", "exec", container, "cat", UPSTREAM])
    return set(re.findall(r"server ([^:]+):", said.stdout)) if said.ok else None


def remove(replicas: Sequence[Replica], *, drain: bool) -> None:
    """Remove containers; with ``drain`` they first end the requests that they have, up to their grace period."""
    names = [one.container for one in replicas]
    if names and drain:
        process.capture(["docker", "stop", *names])
    if names:
        process.capture(["docker", "rm", "--force", "--volumes", *names])
