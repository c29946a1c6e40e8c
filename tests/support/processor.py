"""The processor time of a container, read outside of it: a command inside would count as well."""

from __future__ import annotations

from pathlib import Path

from python_on_whales import docker

CONTROL_GROUPS = Path("/sys/fs/cgroup")


def seconds(container: str) -> float:
    """Return what all processes of a container have used so far, those that ended included."""
    pid = docker.container.inspect(container).state.pid
    path = ""
    for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            usage = CONTROL_GROUPS / f"cpuacct{path}" / "cpuacct.usage"
            return int(usage.read_text(encoding="ascii")) / 1e9
    # Version 2 has one group for everything, in the last line.
    unified = CONTROL_GROUPS / path.removeprefix("/") / "cpu.stat"
    return int(unified.read_text(encoding="ascii").split()[1]) / 1e6
