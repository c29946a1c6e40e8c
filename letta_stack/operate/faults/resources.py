"""Memory, processor time, disk and clock run short or jump."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.operate.faults.model import MESSAGE, READ, STREAM, Expect, Fault
from letta_stack.operate.faults.stack import docker
from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_stack.operate.faults.scene import Scene

MIB = 1024**2
HEADROOM = 24 * MIB  # above what the server uses
HOG = f"x = bytearray({256 * MIB}); x[::4096] = b'1' * len(x[::4096])"
USED = "cat /sys/fs/cgroup/memory.current /sys/fs/cgroup/memory/memory.usage_in_bytes 2>/dev/null"
SLOW_CPUS = "0.2"


@contextlib.contextmanager
def memory(scene: Scene) -> Iterator[None]:
    """Lower a replica's limit to a little above what it uses, and use that little."""
    container = scene.pick(SERVER)
    before = limits(container)
    used = int(process.probe(["docker", "exec", container, "sh", "-c", USED]).stdout.split()[0])
    since = docker("info", "--format={{.SystemTime}}").strip()
    try:
        low = str(used + HEADROOM)
        docker("update", "--memory", low, "--memory-swap", low, container)
        scene.note(f"the memory limit of {container} is {int(low) // MIB} MiB, and more is used")
        process.probe(["docker", "exec", container, "python3", "-c", HOG])
        yield
    finally:
        limit = str(before["Memory"])
        docker("update", "--memory", limit, "--memory-swap", str(before["MemorySwap"]), container)
    names = ["--filter=event=oom", f"--filter=container={container}"]
    until = docker("info", "--format={{.SystemTime}}").strip()
    events = docker("events", "--since", since, "--until", until, *names, "--format={{.Action}}")
    scene.require("oom" in events, "the engine's events name memory as the reason")
    said = process.probe(["docker", "logs", "--since", since, container]).stderr
    scene.require("reached its memory limit" in said, "so does the container's own log")


def limits(container: str) -> dict[str, int]:
    """Return the limits of a container, in bytes and billionths of a processor."""
    text = docker("container", "inspect", "--format={{json .HostConfig}}", container)
    found: dict[str, int] = json.loads(text)
    return found


@contextlib.contextmanager
def slow(scene: Scene) -> Iterator[None]:
    """Give a replica a fifth of a processor, as a busy machine does."""
    container = scene.pick(SERVER)
    before = limits(container)["NanoCpus"] / 1e9
    try:
        docker("update", "--cpus", SLOW_CPUS, container)
        scene.note(f"{container} has {SLOW_CPUS} processors")
        yield
    finally:
        docker("update", "--cpus", f"{before:g}", container)


FAULTS = (
    Fault(
        "memory-limit",
        "one replica uses more memory than its limit",
        memory,
        undo="the limit is what it was",
        seconds=10,
        expect=Expect(healthy=240, unaffected=(READ,), at_most=0.3),
    ),
    Fault(
        "replica-slow",
        f"one replica has {SLOW_CPUS} processors for 15 s",
        slow,
        undo="it has what it had",
        seconds=15,
        expect=Expect(healthy=60, unaffected=(READ, MESSAGE, STREAM)),
    ),
)
