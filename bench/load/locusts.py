"""Runs Locust and reads what it counted."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.operate.faults import scripted_model, workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.operate.faults.stack import Stack

FILE = Path(__file__).with_name("locustfile.py")
# Locust's own: 1 for requests that failed, which are counted here.
SOME_FAILED = 1
SHORT = 8  # words


@dataclass(frozen=True)
class Row:
    """What was measured for one kind of request; times in milliseconds."""

    requests: int
    failures: int
    per_second: float
    p50: float
    p95: float
    p99: float


def run(
    stack: Stack, clients: str, *, users: int, seconds: float, words: int = SHORT
) -> dict[str, Row]:
    """Let ``users`` clients of one class work for some time; return a row a request and one for all.

    ``words`` is the length of a message and of its answer; a stream has seven words a second.
    """
    variables = {
        "LOAD_PASSWORD": stack.client.password,
        "LOAD_MODEL": f"{workload.TAG}/{scripted_model.NAME}",
        "LOAD_WORDS": str(words),
    }
    command = [
        *(sys.executable, "-m", "locust", "--locustfile", str(FILE), "--headless", "--json"),
        *("--skip-log", "--reset-stats", "--host", stack.client.url, "--users", str(users)),
        *(
            "--spawn-rate",
            str(users),
            "--run-time",
            f"{seconds:g}s",
            "--stop-timeout",
            "60",
            clients,
        ),
    ]
    done = process.probe(command, env=variables)
    print(done.stderr, file=sys.stderr, end="")
    entries = json.loads(done.stdout or "[]") if done.exit_code in {0, SOME_FAILED} else []
    if not entries:
        raise SystemExit(
            f"locust ended with {done.exit_code} and no request: {done.stderr[-2000:]}"
        )
    return rows(entries)


def rows(entries: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
    """Read Locust's JSON: times are a histogram of rounded milliseconds."""
    found = {str(one["name"]): row([one]) for one in entries}
    api = [one for one in entries if one["name"] != "first word"]
    return found | {"all": row(api)}


def row(entries: Sequence[Mapping[str, Any]]) -> Row:
    """Sum entries up."""
    times = sorted(
        float(milliseconds)
        for one in entries
        for milliseconds, count in one["response_times"].items()
        for _ in range(count)
    )
    began = min(float(one["start_time"]) for one in entries)
    ended = max(float(one["last_request_timestamp"]) for one in entries)
    return Row(
        requests=sum(int(one["num_requests"]) for one in entries),
        failures=sum(int(one["num_failures"]) for one in entries),
        per_second=round(len(times) / max(ended - began, 1e-3), 2),
        p50=percentile(times, 0.5),
        p95=percentile(times, 0.95),
        p99=percentile(times, 0.99),
    )


def percentile(times: Sequence[float], share: float) -> float:
    """Return the smallest time within which that share of the requests ended; 0 if there is none."""
    return times[min(int(len(times) * share), len(times) - 1)] if times else 0.0
