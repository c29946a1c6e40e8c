"""Processor time, which a busy machine changes less than it changes the time on the clock."""

from __future__ import annotations

from letta_stack.base import process

SCRIPT = "cat /sys/fs/cgroup/cpu.stat 2>/dev/null || cat /sys/fs/cgroup/cpuacct/cpuacct.usage"


def seconds(container: str) -> float:
    """Return what a container has used so far, health checks included (control groups of version 2 or 1)."""
    fields = process.capture(["docker", "exec", container, "sh", "-c", SCRIPT]).split()
    return int(fields[1]) / 1e6 if fields[0] == "usage_usec" else int(fields[0]) / 1e9
