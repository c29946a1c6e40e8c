"""Which container has the database that can be written to: the only one, or the leader among several members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.errors import NoLeader, WaitTimedOut
from letta_stack.topology.catalogue import DATABASE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.topology.project import Project

# A failover takes less; whoever asks in the middle of one need not fail.
ELECTED_SECONDS = 30.0
REST_PORT = 8008
# Patroni's word for it, from the shell: the image has no other client of HTTP.
_SEND = (
    f"exec 3<>/dev/tcp/127.0.0.1/{REST_PORT} && "
    """printf 'GET %s HTTP/1.0\\r\\n\\r\\n' "$1" >&3 && """
)
YES = _SEND + 'read -r -t 3 _ code _ <&3 && test "$code" = 200'
BODY = _SEND + 'mapfile -t lines <&3 && echo "${lines[-1]}"'


def database(project: Project) -> str:
    """Return the container in which the database of a project is changed, "" if it does not run. Raises ``NoLeader``."""
    if not project.topology.members:
        return next(iter(running(project, (DATABASE.name,))), "")
    if not running(project, project.topology.members):
        return ""
    found: list[str] = []

    def elected() -> bool:
        found[:] = leaders(running(project, project.topology.members))
        return bool(found)

    try:
        wait_until(elected, timeout=ELECTED_SECONDS, interval=0.5, describe="")
    except WaitTimedOut:
        raise NoLeader(
            f"no member of the database of {project.name} leads after {ELECTED_SECONDS:g} s; see "
            f"`inv doctor {project.flags}` and docs/runbooks/DatabaseMemberMissing.md"
        ) from None
    return found[0]


def running(project: Project, services: Sequence[str]) -> list[str]:
    """Return the running containers of services."""
    states = project.runner.states()
    return [one.container for one in states if one.service in services and one.state == "running"]


def leaders(containers: Sequence[str]) -> list[str]:
    """Return those whose member holds the lead: none or one."""
    return [one for one in containers if says(one, "/primary")]


def says(container: str, path: str) -> bool:
    """Ask the Patroni of a member a question whose answer is yes or no."""
    return process.probe(["docker", "exec", container, "bash", "-c", YES, "bash", path]).ok


def answer(container: str, path: str) -> str:
    """Return what the Patroni of a member answers, "" if it does not."""
    asked = process.probe(
        ["docker", "exec", container, "timeout", "5", "bash", "-c", BODY, "bash", path]
    )
    return asked.stdout if asked.ok else ""
