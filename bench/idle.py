"""What a topology costs while nobody uses it: processor time and memory of each container, over a minute.

    python -m bench.idle [TOPOLOGY...] [--letta-source DIR] [--raw FILE]

Processor time is what the kernel has counted, health checks included, so that a busy machine changes it little; `docker stats`
says it. `hot` is left out without a source tree.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import statistics
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.start import memory_mib
from letta_stack.base import process
from letta_stack.base.paths import ROOT, SECRETS
from letta_stack.topology.catalogue import TOPOLOGIES
from letta_stack.topology.project import Project, port_flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CALM_SECONDS = 30.0  # after the start: what it began in the background ends
MEASURED_SECONDS = 60.0
SHARE = re.compile(r"([\w.-]+) (\d+(?:\.\d+)?)%")
TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # what clears the screen between two answers
MEASURED = ("single", "dev", "hot", "prod", "services")


@dataclass(frozen=True)
class Cost:
    """One container: per cent of a processor, and memory without the page cache."""

    topology: str
    service: str
    percent: float
    mib: float


def percent_used(containers: Iterable[str]) -> dict[str, float]:
    """Return each container's mean share of a processor, from what the engine says every second of a minute."""
    command = ["docker", "stats", "--format", "{{.Name}} {{.CPUPerc}}", *containers]
    said = process.probe(["timeout", "--signal=KILL", f"{MEASURED_SECONDS:g}", *command]).stdout
    # The first answer of each container is made of one reading.
    shares: dict[str, list[float]] = {name: [] for name in containers}
    for name, share in SHARE.findall(TERMINAL.sub(" ", said)):
        shares[name].append(float(share))
    return {name: statistics.fmean(found[1:]) for name, found in shares.items()}


def free_port() -> str:
    """Return a port that nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def measure(name: str, options: Sequence[str]) -> list[Cost]:
    """Start a topology, leave it alone, measure it, and remove it with its data."""
    project = Project.of(name, project=f"letta-stack-idle-{uuid.uuid4().hex[:8]}")
    flags = ["--env", name, "--project", project.name]
    ports = [word for one in port_flags(project.topology) for word in (one.flag, free_port())]
    invoke = [sys.executable, "-m", "invoke"]
    try:
        process.run([*invoke, "up", *flags, *ports, *options], cwd=ROOT)
        time.sleep(CALM_SECONDS)
        running = {one.container: one.service for one in project.runner.states() if one.ready}
        running = {key: one for key, one in running.items() if one != "letta-migrate"}
        shares = percent_used(list(running))
        return [
            Cost(name, service, shares[container], memory_mib(container))
            for container, service in running.items()
        ]
    finally:
        process.run([*invoke, "down", *flags, "--volumes", "--yes"], cwd=ROOT)
        shutil.rmtree(SECRETS / project.name, ignore_errors=True)


def main() -> None:
    """Measure what was asked for; print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("topology", nargs="*", choices=[*TOPOLOGIES, []], default=[])
    parser.add_argument("--letta-source", default="")
    parser.add_argument("--raw", type=Path)
    arguments = parser.parse_args()
    costs: list[Cost] = []
    for name in arguments.topology or MEASURED:
        mounts = TOPOLOGIES[name].mounts_source
        if mounts and not arguments.letta_source:
            continue
        options = ["--letta-source", arguments.letta_source] if mounts else []
        mine = measure(name, options)
        costs += mine
        for one in sorted(mine, key=lambda one: one.service):
            print(f"{name:10} {one.service:20} {one.percent:5.1f} % {one.mib:7.0f} MiB", flush=True)
        total = sum(one.percent for one in mine), sum(one.mib for one in mine)
        print(f"{name:10} {'all':20} {total[0]:5.1f} % {total[1]:7.0f} MiB", flush=True)
    if arguments.raw:
        arguments.raw.write_text(json.dumps([asdict(one) for one in costs], indent=1) + "\n")


if __name__ == "__main__":
    main()
