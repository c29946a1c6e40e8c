"""What a database of several members has to survive: its leader, those that vote, and the address in front of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.errors import CommandFailed
from letta_stack.operate.faults.containers import START, gone
from letta_stack.operate.faults.model import MESSAGE, READ, STREAM, Expect, Fault
from letta_stack.operate.faults.network import UNDO, tool
from letta_stack.operate.faults.processes import called
from letta_stack.operate.faults.stack import docker
from letta_stack.topology import leader
from letta_stack.topology.catalogue import ETCD, PROXY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from letta_stack.operate.faults.scene import Scene
    from letta_stack.operate.faults.stack import Stack

    Act = Callable[[Scene], AbstractContextManager[None]]

CUT = ("INPUT ! -i lo -j DROP", "OUTPUT ! -o lo -j DROP")
PATRONICTL = ("patronictl", "--config-file", "/etc/patroni")
ELECTED_SECONDS = 60.0
ONE_LEADER = "the one that came back does not lead beside the new one"
# Everything that happens is over by then, so that the way back is measured apart.
LASTS = 20.0


def several(stack: Stack) -> str:
    """Say why none of these can be caused."""
    if stack.project.topology.members:
        return ""
    return f"{stack.project.name} has one PostgreSQL; `inv up --database ha` starts several members"


def leads(scene: Scene) -> str:
    """Return the container of the leader."""
    return leader.database(scene.stack.project)


def others(scene: Scene, one: str) -> list[str]:
    """Return the containers of the other members."""
    return [
        name
        for service in scene.stack.project.topology.members
        for name in scene.stack.containers(service)
        if name != one
    ]


def etcd(scene: Scene) -> list[str]:
    """Return the containers of etcd."""
    return [name for one in ETCD for name in scene.stack.containers(one.name)]


def stopped(
    choose: Callable[[Scene], Sequence[str]], verb: Sequence[str], undo: Sequence[str]
) -> Act:
    """Take containers out of service with one command of the engine, and bring them back with another."""

    @contextlib.contextmanager
    def act(scene: Scene) -> Iterator[None]:
        containers = choose(scene)
        try:
            scene.note(f"docker {' '.join([*verb, *containers])}")
            docker(*verb, *containers)
            yield
        finally:
            process.probe(["docker", *undo, *containers])

    return act


def deposed(act: Act) -> Act:
    """Require that another member leads meanwhile, and that the one of before does not lead again as soon as it is back."""

    @contextlib.contextmanager
    def whole(scene: Scene) -> Iterator[None]:
        before = leads(scene)
        with act(scene):
            yield
            found = leader.leaders(others(scene, before))
            scene.require(len(found) == 1, f"{' and '.join(found) or 'nobody'} leads in its place")
        elected(scene)

    return whole


def elected(scene: Scene) -> None:
    """Wait until exactly one member leads. Raises ``WaitTimedOut``."""

    def one() -> bool:
        project = scene.stack.project
        return len(leader.leaders(leader.running(project, project.topology.members))) == 1

    wait_until(one, timeout=ELECTED_SECONDS, interval=0.5, describe=ONE_LEADER)


@contextlib.contextmanager
def crash(scene: Scene) -> Iterator[None]:
    """Kill the first process of the leader's container; the engine starts it again."""
    container = leads(scene)
    first = scene.stack.processes(container)[0]
    scene.note(f"SIGKILL to the first process of {container}")
    scene.stack.kill(first.pid)
    yield


@contextlib.contextmanager
def postmaster(scene: Scene) -> Iterator[None]:
    """Kill the leader's PostgreSQL, and leave its Patroni."""
    container = leads(scene)
    victim = scene.stack.process(container, called("--config-file="))
    scene.note(f"SIGKILL to {victim.command[:40]} (process {victim.pid}) of {container}")
    scene.stack.kill(victim.pid)
    yield


@contextlib.contextmanager
def cut_off(scene: Scene) -> Iterator[None]:
    """Let nothing into the leader's container and nothing out."""
    container = leads(scene)
    try:
        scene.note(f"iptables -I {' / '.join(CUT)} in {container}")
        scene.stack.in_network_of(container, " && ".join(f"iptables -w -I {rule}" for rule in CUT))
        yield
    finally:
        with contextlib.suppress(CommandFailed):
            scene.stack.in_network_of(
                container, " && ".join(f"iptables -w -D {rule}" for rule in CUT)
            )


@contextlib.contextmanager
def switchover(scene: Scene) -> Iterator[None]:
    """Hand the lead over on purpose."""
    container = leads(scene)
    scene.note(f"patronictl switchover --force in {container}")
    docker("exec", container, *PATRONICTL, "switchover", "--force")
    yield
    found = leader.leaders(others(scene, container))
    scene.require(len(found) == 1, f"{' and '.join(found) or 'nobody'} leads in its place")


def host(scene: Scene) -> list[str]:
    """Return what would be gone with the leader's host: the leader, and the etcd of the same number."""
    one = leads(scene)
    number = scene.stack.project.topology.members.index(
        next(state.service for state in scene.stack.states() if state.container == one)
    )
    return [one, etcd(scene)[number]]


FAULTS = (
    Fault(
        "switchover",
        "the lead is handed over on purpose (patronictl switchover)",
        switchover,
        seconds=10,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
    Fault(
        "leader-killed",
        "SIGKILL to the first process of the leader's container; the engine starts it again",
        crash,
        seconds=LASTS,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
    Fault(
        "leader-postgres-killed",
        "SIGKILL to the leader's PostgreSQL alone",
        postmaster,
        seconds=15,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
    Fault(
        "leader-stopped",
        "the leader's container is stopped for 20 s (docker stop)",
        deposed(stopped(lambda scene: [leads(scene)], ("stop",), ("start",))),
        undo=START,
        seconds=LASTS,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
    Fault(
        "leader-gone",
        "the leader's container is killed for 20 s (docker kill)",
        deposed(stopped(lambda scene: [leads(scene)], ("kill",), ("start",))),
        undo=START,
        seconds=LASTS,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
    Fault(
        "leader-paused",
        "the leader hangs for 20 s and goes on as if nothing had been (docker pause)",
        deposed(stopped(lambda scene: [leads(scene)], ("pause",), ("unpause",))),
        undo="docker unpause",
        seconds=LASTS,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
    Fault(
        "leader-cut-off",
        "the leader's network loses every packet for 20 s",
        deposed(cut_off),
        undo=UNDO,
        seconds=LASTS,
        expect=Expect(healthy=120, writes_within=15),
        needs=lambda stack: several(stack) or tool("iptables")(stack),
    ),
    Fault(
        "leader-host-gone",
        "the leader and an etcd are killed for 20 s, as with their host",
        deposed(stopped(host, ("kill",), ("start",))),
        undo=START,
        seconds=LASTS,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
    Fault(
        "standby-gone",
        "one of the other two is killed for 15 s",
        stopped(lambda scene: others(scene, leads(scene))[:1], ("kill",), ("start",)),
        undo=START,
        seconds=15,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
    Fault(
        "standbys-gone",
        "both others are killed for 15 s: writes wait, for they would be on one disk only",
        stopped(lambda scene: others(scene, leads(scene)), ("kill",), ("start",)),
        undo=START,
        seconds=15,
        expect=Expect(healthy=120),
        needs=several,
    ),
    Fault(
        "etcd-member-gone",
        "one etcd is killed for 15 s",
        stopped(lambda scene: [scene.chance.choice(etcd(scene))], ("kill",), ("start",)),
        undo=START,
        seconds=15,
        expect=Expect(healthy=120, unaffected=(READ, MESSAGE, STREAM), writes_within=5),
        needs=several,
    ),
    Fault(
        "etcd-gone",
        "every etcd is killed for 20 s: the leader goes on while it reaches the others",
        stopped(etcd, ("kill",), ("start",)),
        undo=START,
        seconds=LASTS,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
    Fault(
        "etcd-paused",
        "every etcd hangs for 20 s (docker pause)",
        stopped(etcd, ("pause",), ("unpause",)),
        undo="docker unpause",
        seconds=LASTS,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
    Fault(
        "proxy-gone",
        "HAProxy is killed for 5 s",
        gone(PROXY.name),
        undo=START,
        seconds=5,
        expect=Expect(healthy=120, writes_within=15),
        needs=several,
    ),
)
