"""The network between the services loses, delays or forgets something.

Packet filter and queue of the engine's machine act in a container's own network; the machine itself notices nothing. A
constant delay would take the kernel's netem, which many do not have; a bucket of tokens delays everywhere.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from letta_stack.errors import CommandFailed
from letta_stack.operate.faults.model import MESSAGE, READ, STREAM, Expect, Fault
from letta_stack.topology.catalogue import DATABASE, GATEWAY, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from letta_stack.operate.faults.scene import Scene
    from letta_stack.operate.faults.stack import Stack

RESOLVER = "127.0.0.11"  # the engine's, in each container
POSTGRES_PORT = "5432"
LOSS = "0.05"  # of the packets, in both directions
LINK = "eth0"  # the database has this one
SLOW = "tbf rate 2mbit burst 4kb latency 300ms"
UNDO = "the rules are deleted"


def tool(name: str) -> Callable[[Stack], str]:
    """Say why a network tool cannot be used."""

    def needs(stack: Stack) -> str:
        found = stack.on_machine("sh", "-c", f"command -v {name}")
        return "" if found.ok else f"the engine's machine has no {name}"

    return needs


def filtered(
    services: Sequence[str], *rules: str, one_of: bool = False
) -> Callable[[Scene], AbstractContextManager[None]]:
    """Put packet filter rules into every container of the services, or into one of them."""

    @contextlib.contextmanager
    def act(scene: Scene) -> Iterator[None]:
        found = [one for service in services for one in scene.stack.containers(service)]
        containers = [scene.chance.choice(found)] if one_of else found
        try:
            for container in containers:
                scene.note(f"iptables -I {' / '.join(rules)} in {container}")
                change(scene, container, "-I", rules)
            yield
        finally:
            for container in containers:
                with contextlib.suppress(CommandFailed):  # a restart has forgotten them
                    change(scene, container, "-D", rules)

    return act


def change(scene: Scene, container: str, verb: str, rules: Sequence[str]) -> None:
    """Insert or delete rules. Raises ``CommandFailed``."""
    script = " && ".join(f"iptables -w {verb} {rule}" for rule in rules)
    scene.stack.in_network_of(container, script)


@contextlib.contextmanager
def slow(scene: Scene) -> Iterator[None]:
    """Let what the database sends queue up."""
    container = scene.pick(DATABASE.name)
    try:
        scene.note(f"tc qdisc add dev {LINK} root {SLOW} in {container}")
        scene.stack.in_network_of(container, f"tc qdisc add dev {LINK} root {SLOW}")
        yield
    finally:
        with contextlib.suppress(CommandFailed):
            scene.stack.in_network_of(container, f"tc qdisc del dev {LINK} root")


_CHANCE = f"-m statistic --mode random --probability {LOSS} -j DROP"

FAULTS = (
    Fault(
        "packets-lost",
        f"the network between servers and PostgreSQL loses {float(LOSS):.0%} of the packets for 15 s",
        filtered(
            [DATABASE.name],
            f"INPUT -p tcp --dport {POSTGRES_PORT} {_CHANCE}",
            f"OUTPUT -p tcp --sport {POSTGRES_PORT} {_CHANCE}",
        ),
        undo=UNDO,
        seconds=15,
        expect=Expect(healthy=20, unaffected=(READ, MESSAGE, STREAM)),
        needs=tool("iptables"),
    ),
    Fault(
        "database-slow",
        "the network between servers and PostgreSQL is narrow: up to 300 ms of delay and drops, for 15 s",
        slow,
        undo=UNDO,
        seconds=15,
        expect=Expect(healthy=20, unaffected=(READ, MESSAGE, STREAM)),
        needs=tool("tc"),
    ),
    Fault(
        "database-cut-off",
        "one replica loses the network to PostgreSQL without a word for 25 s",
        filtered([SERVER], f"OUTPUT -p tcp --dport {POSTGRES_PORT} -j DROP", one_of=True),
        undo=UNDO,
        seconds=25,
        # Two times three seconds until it has noticed.
        expect=Expect(healthy=60, reads_after=15),
        needs=tool("iptables"),
    ),
    Fault(
        "database-refused",
        "one replica is refused by PostgreSQL's address for 15 s",
        filtered(
            [SERVER],
            f"OUTPUT -p tcp --dport {POSTGRES_PORT} -j REJECT --reject-with tcp-reset",
            one_of=True,
        ),
        undo=UNDO,
        seconds=15,
        expect=Expect(healthy=60, reads_after=5),
        needs=tool("iptables"),
    ),
    Fault(
        "dns-gone",
        "no server and no gateway can resolve a name for 20 s",
        filtered([SERVER, GATEWAY.name], f"OUTPUT -d {RESOLVER} -j DROP"),
        undo=UNDO,
        seconds=20,
        expect=Expect(healthy=60),
        needs=tool("iptables"),
    ),
)
