"""A whole container stops, freezes, or all of them do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.operate.faults.model import MESSAGE, READ, STREAM, Expect, Fault
from letta_stack.operate.faults.stack import docker
from letta_stack.topology.catalogue import COLLECTOR, DATABASE, GATEWAY, REDIS, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from letta_stack.operate.faults.scene import Scene

START = "docker start"


def gone(service: str) -> Callable[[Scene], AbstractContextManager[None]]:
    """Kill a container in the way that the engine's restart policy does not act on."""

    @contextlib.contextmanager
    def act(scene: Scene) -> Iterator[None]:
        container = scene.pick(service)
        try:
            scene.note(f"docker kill {container}")
            docker("kill", container)
            yield
        finally:
            docker("start", container)

    return act


def frozen(service: str) -> Callable[[Scene], AbstractContextManager[None]]:
    """Freeze a container: its connections stay and nobody answers."""

    @contextlib.contextmanager
    def act(scene: Scene) -> Iterator[None]:
        container = scene.pick(service)
        try:
            scene.note(f"docker pause {container}")
            docker("pause", container)
            yield
        finally:
            process.probe(["docker", "unpause", container])

    return act


@contextlib.contextmanager
def reboot(scene: Scene) -> Iterator[None]:
    """Kill the first process of every container at once, as a power failure does; the engine starts them as at its own start."""
    names = [one.container for one in scene.stack.states()]
    pids = [scene.stack.processes(one)[0].pid for one in names]
    scene.note(f"SIGKILL to the first processes of {len(names)} containers")
    scene.stack.kill(*pids)
    yield


@contextlib.contextmanager
def engine_restart(scene: Scene) -> Iterator[None]:
    """Stop every container within the engine's own ten seconds and start them in no order, as its restart does."""
    names = [one.container for one in scene.stack.states()]
    try:
        scene.note(f"docker stop --time 10 for {len(names)} containers")
        docker("stop", "--time", "10", *names)
        yield
    finally:
        docker("start", *names)


FAULTS = (
    Fault(
        "replica-gone",
        "one replica is killed for 10 s during streams (docker kill)",
        gone(SERVER),
        undo=START,
        seconds=10,
        expect=Expect(healthy=240, unaffected=(READ,), at_most=0.2),
    ),
    Fault(
        "gateway-gone",
        "the gateway is killed for 5 s during streams",
        gone(GATEWAY.name),
        undo=START,
        seconds=5,
        expect=Expect(healthy=15),
    ),
    Fault(
        "database-gone",
        "PostgreSQL is gone for 10 s",
        gone(DATABASE.name),
        undo=START,
        seconds=10,
        expect=Expect(healthy=45),
    ),
    Fault(
        "redis-gone",
        "Redis is gone for 15 s and comes back empty",
        gone(REDIS.name),
        undo=START,
        seconds=15,
        expect=Expect(healthy=30, unaffected=(READ,)),
    ),
    Fault(
        "collector-gone",
        "the collector is gone for 10 s",
        gone(COLLECTOR.name),
        undo=START,
        seconds=10,
        expect=Expect(healthy=30, unaffected=(READ, MESSAGE, STREAM)),
    ),
    Fault(
        "replica-frozen",
        "one replica hangs for 15 s (docker pause)",
        frozen(SERVER),
        undo="docker unpause",
        seconds=15,
        expect=Expect(healthy=30, at_most=0.5),
    ),
    Fault(
        "database-paused",
        "PostgreSQL hangs for 30 s (docker pause)",
        frozen(DATABASE.name),
        undo="docker unpause",
        seconds=30,
        expect=Expect(healthy=30),
    ),
    Fault(
        "redis-frozen",
        "Redis hangs for 15 s (docker pause)",
        frozen(REDIS.name),
        undo="docker unpause",
        seconds=15,
        # The server asks its cache of users there before a read, five seconds at a time.
        expect=Expect(healthy=30),
    ),
    Fault(
        "collector-frozen",
        "the collector hangs for 15 s (docker pause)",
        frozen(COLLECTOR.name),
        undo="docker unpause",
        seconds=15,
        expect=Expect(healthy=30, unaffected=(READ, MESSAGE, STREAM)),
    ),
    Fault(
        "host-reboot",
        "every container is killed at once and comes back by the engine's restart policy; volumes stay",
        reboot,
        seconds=30,
        expect=Expect(healthy=240),
    ),
    Fault(
        "engine-restart",
        "every container is stopped within 10 s and started in no order",
        engine_restart,
        undo=START,
        seconds=1,
        expect=Expect(healthy=240),
    ),
)
