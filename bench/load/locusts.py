"""Runs Locust and reads what it counted."""

from __future__ import annotations

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.operate.faults import scripted_model, workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from letta_stack.operate.faults.stack import Stage

FILE = Path(__file__).with_name("locustfile.py")
# Locust's own: 1 for requests that failed, which are counted here.
SOME_FAILED = 1
SHORT = 8  # words
START_SECONDS = 120.0  # until each client has its agent
WARM_UP_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """What was measured for one kind of request; times in milliseconds."""

    requests: int
    failures: int
    per_second: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Load:
    """What one kind of clients met in the window, and what was counted elsewhere at its begin and at its end."""

    rows: dict[str, Row]
    before: Mapping[str, float]
    after: Mapping[str, float]


def run(
    stack: Stage,
    clients: str,
    *,
    users: int,
    seconds: float,
    words: int = SHORT,
    count: Callable[[], Mapping[str, float]] = dict,
) -> Load:
    """Let ``users`` clients of one class work; return a row a request and one for all, of ``seconds`` in which all do nothing else.

    ``words`` is the length of a message and of its answer; a stream has seven words a second. ``count`` is called when the window
    opens and when it closes.
    """
    with tempfile.TemporaryDirectory() as marks, ThreadPoolExecutor(1) as pool:
        work = pool.submit(
            _locust, stack, clients, users=users, seconds=seconds, words=words, marks=marks
        )

        def reached(mark: str) -> Mapping[str, float]:
            file = Path(marks, mark)
            wait_until(
                lambda: file.exists() or work.done(),
                timeout=START_SECONDS + WARM_UP_SECONDS + seconds,
                interval=0.05,
                describe=f"the clients are not at work after {START_SECONDS:g} s",
            )
            return count() if file.exists() else {}

        before, after = reached("began"), reached("ended")
        entries = work.result()
        if not Path(marks, "ended").exists():
            raise SystemExit(f"not every client was ready after {START_SECONDS:g} s")
    return Load(rows(entries, seconds), before, after)


def _locust(
    stack: Stage, clients: str, *, users: int, seconds: float, words: int, marks: str
) -> list[dict[str, Any]]:
    """Run Locust and return its counts."""
    variables = {
        "LOAD_MARKS": marks,
        "LOAD_SECONDS": str(seconds),
        "LOAD_WARM_UP": str(WARM_UP_SECONDS),
        "LOAD_PASSWORD": stack.client.password,
        "LOAD_MODEL": f"{workload.TAG}/{scripted_model.NAME}",
        "LOAD_WORDS": str(words),
    }
    command = [
        *(sys.executable, "-m", "locust", "--locustfile", str(FILE), "--headless", "--json"),
        *("--skip-log", "--host", stack.client.base(), "--users", str(users)),
        *("--spawn-rate", str(users), "--stop-timeout", "60"),
        # The window ends the run; this ends one whose window never opens.
        *("--run-time", f"{START_SECONDS + WARM_UP_SECONDS + seconds:g}s", clients),
    ]
    done = process.probe(command, env=variables)
    print(done.stderr, file=sys.stderr, end="")
    entries: list[dict[str, Any]] = (
        json.loads(done.stdout or "[]") if done.exit_code in {0, SOME_FAILED} else []
    )
    if not entries:
        raise SystemExit(
            f"locust ended with {done.exit_code} and no request: {done.stderr[-2000:]}"
        )
    return entries


def rows(entries: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Row]:
    """Read Locust's JSON of a window of so many seconds: times are a histogram of rounded milliseconds."""
    found = {str(one["name"]): row([one], seconds) for one in entries}
    api = [one for one in entries if one["name"] != "first word"]
    return found | {"all": row(api, seconds)}


def row(entries: Sequence[Mapping[str, Any]], seconds: float) -> Row:
    """Sum entries up."""
    times = sorted(
        float(milliseconds)
        for one in entries
        for milliseconds, count in one["response_times"].items()
        for _ in range(count)
    )
    return Row(
        requests=sum(int(one["num_requests"]) for one in entries),
        failures=sum(int(one["num_failures"]) for one in entries),
        per_second=round(len(times) / seconds, 2),
        p50=percentile(times, 0.5),
        p95=percentile(times, 0.95),
        p99=percentile(times, 0.99),
    )


def percentile(times: Sequence[float], share: float) -> float:
    """Return the smallest time within which that share of the requests ended; 0 if there is none."""
    return times[min(int(len(times) * share), len(times) - 1)] if times else 0.0
