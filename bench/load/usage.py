"""What a stack uses and how it grows: processor time, memory, bytes on disk."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.operate import postgres
from letta_stack.topology.catalogue import COLLECTOR, SERVER
from tests.support import processor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.operate.faults.stack import Stack

TELEMETRY = "/var/lib/letta/otel"
TABLES = "SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables"
# What a restart would give back and the kernel takes when it needs it is not the server's.
_MEMORY = "cat /sys/fs/cgroup/memory.stat 2>/dev/null || cat /sys/fs/cgroup/memory/memory.stat"
_OWN = {"anon", "total_rss"}  # cgroup v2, v1


@dataclass(frozen=True)
class Bytes:
    """What grows with messages."""

    database: int
    logs: int
    telemetry: int
    tables: dict[str, int]  # of the database, with their indexes

    def per(self, before: Bytes, count: int) -> dict[str, float]:
        """Return the growth for each of ``count`` messages, by table where there is any."""
        pairs = [
            ("database", self.database, before.database),
            *(
                (f"database, {name}", value, before.tables.get(name, 0))
                for name, value in sorted(self.tables.items())
                if value != before.tables.get(name, 0)
            ),
            ("container's log", self.logs, before.logs),
            ("telemetry", self.telemetry, before.telemetry),
        ]
        return {name: round((now - then) / count, 1) for name, now, then in pairs}


def memory(container: str) -> int:
    """Return the anonymous memory of a container in bytes."""
    text = process.capture(["docker", "exec", container, "sh", "-c", _MEMORY])
    fields = dict(line.split() for line in text.splitlines())
    return int(next(fields[name] for name in ("total_rss", "anon") if name in fields))


def cpu(stack: Stack) -> dict[str, float]:
    """Return the processor seconds that each service has used."""
    used: dict[str, float] = {}
    for one in stack.states():
        used[one.service] = used.get(one.service, 0.0) + processor.seconds(one.container)
    return used


def size(stack: Stack) -> Bytes:
    """Return how much there is now, dead rows included: that is what the disk holds."""
    target = postgres.of(stack.project)
    collector = stack.containers(COLLECTOR.name)[0]
    telemetry = process.capture(["docker", "exec", collector, "du", "-sb", TELEMETRY]).split()[0]
    return Bytes(
        database=int(target.value("SELECT pg_database_size(current_database())")),
        logs=sum(map(log_bytes, stack.containers(SERVER))),
        telemetry=int(telemetry),
        tables={name: int(size) for name, size in target.query(TABLES)},
    )


def log_bytes(container: str) -> int:
    """Return the length of what a container has logged so far."""
    done = process.probe(["docker", "logs", container])
    return len(done.stdout.encode()) + len(done.stderr.encode())


def transactions(stack: Stack) -> float:
    """Return how many transactions the database has ended so far, as its statistics know half a second later."""
    total = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    return float(postgres.of(stack.project).value(total))


@dataclass(frozen=True)
class Fit:
    """A straight line through samples: bytes a message, and the standard error of that."""

    slope: float
    error: float


def fit(samples: Sequence[tuple[int, int]]) -> Fit:
    """Return the growth in bytes a message of samples of (messages so far, bytes), of which there are three or more.

    The error takes the samples for independent; those of a process's memory are not quite, so it is a lower bound.
    """
    counts, sizes = zip(*samples, strict=True)
    line = statistics.linear_regression(counts, sizes)
    rest = sum((y - line.slope * x - line.intercept) ** 2 for x, y in samples)
    spread = sum((x - statistics.fmean(counts)) ** 2 for x in counts)
    return Fit(line.slope, math.sqrt(rest / (len(samples) - 2) / spread))
