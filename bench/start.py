"""How long until the server answers, how long a restart takes, and what it holds in memory when idle.

    python -m bench.start IMAGE [UPSTREAM_IMAGE] [--runs N]

Each run takes both images in turn, so that a busy machine slows both. Only the ratio is worth comparing.
"""

from __future__ import annotations

import argparse
import contextlib
import http
import json
import statistics
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import http_wait, process
from letta_stack.image import contract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DATA = {"ours": contract.VOLUME, "upstream": "/var/lib/postgresql/data"}
COLUMNS = ("new_volume_seconds", "restart_seconds", "stop_seconds", "idle_mib")
GIVE_UP_SECONDS = 180.0
POLL_SECONDS = 0.05
IDLE_SECONDS = 20.0
STOP_SECONDS = 60
MIB = {"B": 1 / 1024**2, "K": 1 / 1024, "M": 1.0, "G": 1024.0}


@dataclass(frozen=True)
class Run:
    """One image, started on a new volume, measured, stopped, started again."""

    image: str
    new_volume_seconds: float
    idle_mib: float
    stop_seconds: float
    stop_exit_code: int
    restart_seconds: float


def seconds_to_health(container: str) -> float:
    """Wait for the first 200 on the health endpoint of a container that was started just now."""
    port = process.capture(["docker", "port", container, f"{contract.API_PORT}/tcp"]).splitlines()[
        0
    ]
    return http_wait.wait_for_status(
        f"http://127.0.0.1:{port.rpartition(':')[2]}/v1/health/",
        status=http.HTTPStatus.OK,
        timeout=GIVE_UP_SECONDS,
        interval=POLL_SECONDS,
    )


def idle_mib(container: str) -> float:
    """Return the container's memory once it is idle."""
    time.sleep(IDLE_SECONDS)
    return memory_mib(container)


def memory_mib(container: str) -> float:
    """Return the container's memory without the page cache, as the engine reports it."""
    question = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", container]
    text = process.capture(question).split("/")[0].strip()
    number = text.rstrip("kKMGTiB")
    return float(number) * MIB[text[len(number)].upper()]


@contextlib.contextmanager
def volume() -> Iterator[str]:
    """Lend a name for a volume and a container, and remove both."""
    name = f"letta-stack-bench-{uuid.uuid4().hex[:8]}"
    process.capture(["docker", "volume", "create", name])
    try:
        yield name
    finally:
        process.probe(["docker", "rm", "--force", "--volumes", name])
        process.probe(["docker", "volume", "rm", "--force", name])


def measure(image: str, who: str) -> Run:
    """Start, idle, stop and restart one container; leave nothing behind."""
    with volume() as name:
        options = [f"--name={name}", "--publish=127.0.0.1::8283", f"--volume={name}:{DATA[who]}"]
        process.capture(["docker", "run", "--detach", *options, image])
        new_volume = seconds_to_health(name)
        idle = idle_mib(name)
        began = time.monotonic()
        process.capture(["docker", "stop", f"--time={STOP_SECONDS}", name])
        stopped = time.monotonic() - began
        code = process.capture(["docker", "inspect", "--format={{.State.ExitCode}}", name])
        process.capture(["docker", "start", name])
        return Run(image, new_volume, idle, stopped, int(code), seconds_to_health(name))


def report(runs: dict[str, list[Run]]) -> None:
    """Print the medians and, with two images, the ratio of the first to the second."""
    print(" " * 20 + "".join(f"{who:>12}" for who in runs) + ("   ratio" if len(runs) > 1 else ""))
    for column in COLUMNS:
        row = [
            statistics.median(getattr(run, column) for run in of_image)
            for of_image in runs.values()
        ]
        ratio = f"{row[0] / row[1]:8.2f}" if len(row) > 1 else ""
        print(f"{column:20}" + "".join(f"{value:12.1f}" for value in row) + ratio)
    for who, of_image in runs.items():
        print(f"{who}: exit codes on stop {sorted({run.stop_exit_code for run in of_image})}")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the images that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench.start")
    parser.add_argument("image")
    parser.add_argument("upstream", nargs="?", help="an image made by python -m bench.build")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--raw", type=Path, help="where to write every number, as JSON")
    arguments = parser.parse_args(argv)
    images = {"ours": arguments.image}
    if arguments.upstream:
        images["upstream"] = arguments.upstream
    runs: dict[str, list[Run]] = {who: [] for who in images}
    for number in range(arguments.runs):
        for who, image in images.items():
            run = measure(image, who)
            print(f"run {number + 1} {who}: {asdict(run)}", file=sys.stderr, flush=True)
            runs[who].append(run)
    report(runs)
    if arguments.raw:
        raw = {who: [asdict(run) for run in of_image] for who, of_image in runs.items()}
        arguments.raw.write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
