"""A process is killed, as by a crash or by a machine without memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from letta_stack.operate.faults.model import MESSAGE, READ, STREAM, Expect, Fault
from letta_stack.topology.catalogue import COLLECTOR, DATABASE, GATEWAY, REDIS, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from letta_stack.operate.faults.scene import Scene
    from letta_stack.operate.faults.stack import Process, Stack

BACK_SECONDS = 240.0  # a server starts in 12 s on two idle processors
LONG_ENOUGH = 12.0  # to see it come back while the fault is still being watched


def kill(
    service: str, wanted: Callable[[Process], bool]
) -> Callable[[Scene], AbstractContextManager[None]]:
    """Kill one process of one container of a service."""

    @contextlib.contextmanager
    def act(scene: Scene) -> Iterator[None]:
        container = scene.pick(service)
        victim = scene.stack.process(container, wanted)
        scene.note(f"SIGKILL to {victim.command[:60]} (process {victim.pid}) of {container}")
        scene.stack.kill(victim.pid)
        yield

    return act


def called(text: str) -> Callable[[Process], bool]:
    """Choose a process by its command."""
    return lambda one: text in one.command


def first(_: Process) -> bool:
    """Choose the container's first."""
    return True


def serving(stack: Stack, container: str) -> Process:
    """Return the server itself, whose parent has the same command. Raises ``NotRunning``."""
    parent = stack.process(container, called("entrypoint"))
    return stack.process(
        container, lambda one: one.parent == parent.pid and one.command == parent.command
    )


@contextlib.contextmanager
def one_server(scene: Scene) -> Iterator[None]:
    """Kill the server in one replica."""
    container = scene.pick(SERVER)
    victim = serving(scene.stack, container)
    scene.note(f"SIGKILL to {victim.command[:60]} (process {victim.pid}) of {container}")
    scene.stack.kill(victim.pid)
    yield


@contextlib.contextmanager
def every_server(scene: Scene) -> Iterator[None]:
    """Kill the server in every replica at the same moment."""
    pids = [serving(scene.stack, one).pid for one in scene.stack.containers(SERVER)]
    scene.note(f"SIGKILL to {len(pids)} servers")
    scene.stack.kill(*pids)
    yield


FAULTS = (
    Fault(
        "server-killed",
        "SIGKILL to the server in one replica, in the middle of turns and streams",
        one_server,
        seconds=LONG_ENOUGH,
        # The gateway repeats a read elsewhere; who waits for a turn of that replica hears that it broke off.
        expect=Expect(healthy=BACK_SECONDS, unaffected=(READ,), at_most=0.2),
        quick=True,
    ),
    Fault(
        "servers-killed",
        "SIGKILL to the server in every replica at once",
        every_server,
        seconds=LONG_ENOUGH,
        expect=Expect(healthy=BACK_SECONDS),
    ),
    Fault(
        "server-init-killed",
        "SIGKILL to the first process of one replica, from outside",
        kill(SERVER, first),
        seconds=LONG_ENOUGH,
        expect=Expect(healthy=BACK_SECONDS, unaffected=(READ,), at_most=0.2),
    ),
    Fault(
        "gateway-killed",
        "SIGKILL to the gateway's first process during streams",
        kill(GATEWAY.name, first),
        expect=Expect(healthy=15),
    ),
    Fault(
        "gateway-master-killed",
        "SIGKILL to nginx's master process during streams",
        kill(GATEWAY.name, called("nginx: master")),
        expect=Expect(healthy=15),
    ),
    Fault(
        "gateway-worker-killed",
        "SIGKILL to one of nginx's workers during streams",
        kill(GATEWAY.name, called("nginx: worker")),
        expect=Expect(healthy=10, at_most=0.3),
    ),
    Fault(
        "database-killed",
        "SIGKILL to PostgreSQL's first process",
        kill(DATABASE.name, first),
        seconds=6,
        expect=Expect(healthy=30),
        quick=True,
    ),
    Fault(
        "database-backend-killed",
        "SIGKILL to one connection's process of PostgreSQL, which makes it recover all of them",
        kill(DATABASE.name, called("postgres: letta")),
        expect=Expect(healthy=30),
    ),
    Fault(
        "database-walwriter-killed",
        "SIGKILL to PostgreSQL's WAL writer",
        kill(DATABASE.name, called("walwriter")),
        expect=Expect(healthy=30),
    ),
    Fault(
        "redis-killed",
        "SIGKILL to Redis",
        kill(REDIS.name, called("redis-server")),
        expect=Expect(healthy=20, unaffected=(READ,), at_most=0.4),
        quick=True,
    ),
    Fault(
        "collector-killed",
        "SIGKILL to the collector",
        kill(COLLECTOR.name, first),
        expect=Expect(healthy=30, unaffected=(READ, MESSAGE, STREAM)),
        quick=True,
    ),
)
