# ruff: noqa: INP001 - a program of its container, run by path
"""Metrics of the stack's containers, from the files of their control groups, without the engine's socket.

Whoever has that socket is root on the host. The names come from the engine's resolver instead, which knows a neighbour by
the beginning of its id, and by its address under the name that compose gave it. Also how long the collector's queues are: of six
queues 0.96.0 itself shows the one that it made first.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

# The image's start code: compose puts it on the path.
from entrypoint import environment, queues, telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PORT = 9101
CGROUPS = Path("/host/cgroup")
QUEUES = Path("/var/lib/letta/otel/storage")
CONTAINER = re.compile(r"(?:docker-)?(?P<id>[0-9a-f]{64})(?:\.scope)?")
SHORT_ID = 12
NAME = re.compile(r"(?P<project>[a-z0-9][a-z0-9_-]*?)-(?P<service>letta-[a-z-]+)-(?P<number>\d+)\.")
UNLIMITED = 2.0**60  # what version 1 says when there is no limit
METRICS = {
    "container_cpu_seconds_total": "counter",
    "container_memory_bytes": "gauge",
    "container_memory_limit_bytes": "gauge",
    "container_oom_kills_total": "counter",
    "container_processes": "gauge",
    "container_start_time_seconds": "gauge",
}


@dataclass(frozen=True)
class Container:
    """A running container of this stack."""

    directory: Path
    service: str
    number: str


def directories(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield id and control group of every container, of the systemd driver and of the other one.

    In version 1 each controller has a tree of its own; the one of memory stands for all.
    """
    tree = root if unified(root) else root / "memory"
    for pattern in ("system.slice/docker-*.scope", "docker/*", "*/docker/*", "*/docker-*.scope"):
        for path in tree.glob(pattern):
            if match := CONTAINER.fullmatch(path.name):
                yield match["id"], path


def unified(root: Path) -> bool:
    """Tell whether this is version 2."""
    return (root / "cgroup.controllers").is_file()


def named(identity: str) -> tuple[str, str] | None:
    """Return service and number of a neighbour, None for a container of somebody else's."""
    try:
        address = socket.gethostbyname(identity[:SHORT_ID])
        name = socket.gethostbyaddr(address)[0]
    except OSError:
        return None
    match = NAME.match(name + ".")
    return (match["service"], match["number"]) if match else None


def containers(root: Path) -> Iterator[Container]:
    """Yield the running containers of this stack."""
    for identity, directory in dict(directories(root)).items():
        if who := named(identity):
            yield Container(directory, *who)


def values(root: Path, directory: Path) -> dict[str, float]:
    """Read a container's files; nothing if it has gone meanwhile."""
    try:
        found = version_2(directory) if unified(root) else version_1(root, directory)
    except (OSError, KeyError):
        return {}
    # The group is made anew with every start.
    return found | {"container_start_time_seconds": directory.stat().st_ctime}


def version_2(directory: Path) -> dict[str, float]:
    """Read the files of a control group. Memory that could be given back at once does not count, as in `docker stats`."""
    limit = (directory / "memory.max").read_text().strip()
    return {
        "container_cpu_seconds_total": fields(directory / "cpu.stat")["usage_usec"] / 1e6,
        "container_memory_bytes": number(directory / "memory.current")
        - fields(directory / "memory.stat").get("inactive_file", 0),
        "container_oom_kills_total": fields(directory / "memory.events")["oom_kill"],
        "container_processes": number(directory / "pids.current"),
    } | ({} if limit == "max" else {"container_memory_limit_bytes": float(limit)})


def version_1(root: Path, directory: Path) -> dict[str, float]:
    """Read the same from the trees of three controllers."""
    below = directory.relative_to(root / "memory")
    limit = number(directory / "memory.limit_in_bytes")
    return {
        "container_cpu_seconds_total": number(root / "cpuacct" / below / "cpuacct.usage") / 1e9,
        "container_memory_bytes": number(directory / "memory.usage_in_bytes")
        - fields(directory / "memory.stat").get("total_inactive_file", 0),
        "container_oom_kills_total": fields(directory / "memory.oom_control").get("oom_kill", 0),
        "container_processes": number(root / "pids" / below / "pids.current"),
    } | ({} if limit >= UNLIMITED else {"container_memory_limit_bytes": limit})


def number(path: Path) -> float:
    """Read a file of one number."""
    return float(path.read_text())


def fields(path: Path) -> dict[str, float]:
    """Read a file of names and numbers."""
    rows = (line.split() for line in path.read_text().splitlines())
    return {name: float(value) for name, value in rows}


def lengths(storage: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """Yield how many requests wait in the collector's queues, and how many may."""
    yield "# TYPE letta_telemetry_queue_requests gauge"
    for exporter, name, queue in queues.every(storage):
        labels = f'exporter="{exporter}",signal="{name}"'
        yield f"letta_telemetry_queue_requests{{{labels}}} {queue.waiting}"
    limit = telemetry.collector_environment(environment.drop_empty(settings))["OTEL_QUEUE_SIZE"]
    yield "# TYPE letta_telemetry_queue_limit gauge"
    yield f"letta_telemetry_queue_limit {limit}"


def exposition(root: Path, storage: Path) -> str:
    """Write all metrics in Prometheus' text format."""
    rows: dict[str, list[str]] = {name: [] for name in METRICS}
    for one in sorted(containers(root), key=lambda one: (one.service, one.number)):
        for name, value in values(root, one.directory).items():
            labels = f'service="{one.service}",number="{one.number}"'
            rows[name].append(f"{name}{{{labels}}} {value}")
    lines = []
    for name, kind in METRICS.items():
        lines += [f"# TYPE {name} {kind}", *rows[name]]
    lines += lengths(storage, os.environ)
    return "\n".join(lines) + "\n"


class Handler(BaseHTTPRequestHandler):
    """Answers Prometheus, and the health check."""

    def do_GET(self) -> None:
        """Send the metrics, or a line for anything else."""
        text = (
            exposition(CGROUPS, QUEUES) if self.path == "/metrics" else "metrics are at /metrics\n"
        )
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing about each request."""


if __name__ == "__main__":
    # The first process of a container has no default for it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
