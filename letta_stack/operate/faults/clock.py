"""The clock of one replica jumps. Containers share the machine's, so a further replica has one that a file turns."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.wait import wait_until
from letta_stack.engine import inspect
from letta_stack.image import sources, third_party
from letta_stack.operate import replicas
from letta_stack.operate.faults.model import MESSAGE, READ, STREAM, Expect, Fault
from letta_stack.operate.faults.stack import docker
from letta_stack.topology import capacity, secret_files
from letta_stack.topology.catalogue import GATEWAY, SERVER
from letta_stack.topology.deployed import IMAGE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from letta_stack.operate.faults.scene import Scene
    from letta_stack.operate.faults.stack import Stack
    from letta_stack.operate.replicas import Replica
    from letta_stack.topology.project import Project

DIRECTORY = ROOT / "images" / "clock"
CLOCK = "/tmp/clock"  # noqa: S108 - in the replica's container
JUMPS = ("+1h", "-1d")  # what it says after each jump, as seen from the true time
SECONDS = 8.0  # for each
START_SECONDS = 300.0


def build(stack: Stack) -> str:
    """Make the image of a server whose clock can be turned; return its name. Raises ``CommandFailed``."""
    ca = sources.find_ca("", os.environ)
    bases = third_party.ensure(("DEBIAN_IMAGE",), source="auto", ca=ca)
    arguments = bases | {"SERVER_IMAGE": stack.image}
    tag = f"letta-stack/clock:{stack.project.name}"
    process.capture(
        [
            *("docker", "build", "--quiet", "--tag", tag),
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            str(DIRECTORY),
        ]
    )
    return tag


def with_image(stack: Stack, reference: str) -> Project:
    """Return the project as it would start one more server of another image."""
    variables = capacity.variables(inspect.require())
    variables |= dict(secret_files.store(stack.project).variables)
    return stack.project.with_variables(variables | {IMAGE_VARIABLE: reference})


def added(project: Project, before: Sequence[str]) -> list[Replica]:
    """Return the replicas that were not there before."""
    return [one for one in replicas.of(project) if one.container not in before]


def asked(gateway: str, one: Replica, since: str) -> int:
    """Count the requests that a gateway has sent to a replica."""
    lines = process.probe(["docker", "logs", "--since", since, gateway]).stdout.splitlines()
    return sum(any(f'"{address}:' in line for address in one.addresses) for line in lines)


@contextlib.contextmanager
def jump(scene: Scene) -> Iterator[None]:
    """Add a replica, turn its clock forth and back, and let it go."""
    reference = build(scene.stack)
    project = with_image(scene.stack, reference)
    before = [one.container for one in replicas.of(project)]
    try:
        project.runner.scale(SERVER, len(before) + 1)
        wait_until(
            lambda: [one.ready for one in added(project, before)] == [True],
            timeout=START_SECONDS,
            interval=0.5,
            describe="the replica with a clock of its own is not healthy",
        )
        (one,) = added(project, before)
        replicas.wait_until_known(project, [one])
        since = docker("info", "--format={{.SystemTime}}").strip()
        for offset in JUMPS:
            docker("exec", one.container, "sh", "-c", f"echo {offset} > {CLOCK}")
            moment = docker("exec", one.container, "date", "-u", "+%F %T").strip()
            scene.note(f"the clock of {one.container} says {moment} ({offset})")
            time.sleep(SECONDS)
        yield
        (gateway,) = scene.stack.containers(GATEWAY.name)
        count = asked(gateway, one, since)
        scene.require(count > 0, f"it was asked meanwhile ({count} requests)")
    finally:
        replicas.remove(added(project, before), drain=True)
        process.probe(["docker", "image", "rm", reference])


FAULTS = (
    Fault(
        "clock-jumps",
        "the clock of one replica is an hour ahead, then a day behind, for 8 s each",
        jump,
        undo="the replica goes",
        seconds=0,
        expect=Expect(healthy=60, unaffected=(READ, MESSAGE, STREAM)),
    ),
)
