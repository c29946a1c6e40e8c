"""What telemetry costs: spans per second of processor time of our collector beside a bare one, and the server with and without it.

    python -m bench.telemetry [collectors] [server] [--blocks N] [--requests N] [--raw FILE]

The bare collector is the same program with the same exporter: spans go from the receiver to the exporter, and its queue is in
memory. Every collector gets the same spans, none of which ours drops, in turns; counted is the processor time of its container,
which depends little on who else is busy. What was taken must be stored before the next block begins. The server does the same
turns of a scripted model with telemetry, sent to a collector of its own, and without.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from python_on_whales import docker

from bench import turns
from bench.configurations import bare, in_memory, merged, patient
from bench.gateway import spread
from letta_stack.base.paths import ROOT
from letta_stack.base.wait import wait_until
from letta_stack.engine import inspect
from letta_stack.image import third_party
from tests.smoke import harness, telemetry
from tests.support.processor import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SPANS = 512  # the most that the server's SDK puts into a request
SECONDS = 600.0
IDLE_SECONDS = 15.0
CLICKHOUSE = "CLICKHOUSE_IMAGE"
PARTS = ("collectors", "server")
COMPARED = (
    ("file", "file", "file-bare", 0.9),
    ("ClickHouse, queue in memory", "clickhouse-memory", "clickhouse-bare", 0.9),
    ("ClickHouse, queue on disk", "clickhouse", "clickhouse-bare", 0.6),
    ("server, telemetry on", "on", "off", 0.95),
)
FILE_COUNT = f"cat {telemetry.STORAGE}/telemetry*.json | grep -o '\"spanId\"' | wc -l"


@dataclass(frozen=True)
class Subject:
    """A collector that is measured, and how to learn how many spans of it are stored."""

    collector: telemetry.Collector
    name: str
    stored: Callable[[], int]
    later: bool
    """Whether an answer means that the spans are in a queue only."""

    def idle(self) -> float:
        """Return the share of a processor that it takes without a span: looking at files and clocks."""
        begin, used = time.monotonic(), seconds(self.collector.container)
        time.sleep(IDLE_SECONDS)
        return (seconds(self.collector.container) - used) / (time.monotonic() - begin)

    def measure(self, network: str, count: int, idle: float) -> float:
        """Send, wait until everything is stored, and return spans for each second of processor time.

        A busy machine stretches the time, and with it what the collector takes idle; that is not the spans'.

        Raises:
            WaitTimedOut: something is lost.

        """
        before = self.stored()
        clock, begin = time.monotonic(), seconds(self.collector.container)
        expected = before + send(network, count) * SPANS
        if self.later:
            self.wait_for(expected)
        used = seconds(self.collector.container) - begin - idle * (time.monotonic() - clock)
        self.wait_for(expected)
        return (expected - before) / used

    def wait_for(self, expected: int) -> None:
        """Return when that many spans are stored; some may be twice, by a store that answered too late."""

        def missing() -> str:
            return f"{self.name}: {expected - self.stored()} spans are missing"

        wait_until(
            lambda: self.stored() >= expected, timeout=SECONDS, interval=1.0, describe=missing
        )


def send(network: str, count: int) -> int:
    """Send requests to the collector of the network; return how many were taken."""
    with harness.running(
        "sender",
        command=["/stub/otlp_sender.py", f"collector:{telemetry.GRPC}", str(count), str(SPANS)],
        entrypoint="/opt/letta/venv/bin/python",
        user="65534:65534",
        healthcheck=False,
        volumes=[(ROOT / "tests" / "smoke" / "stub", "/stub", "ro")],
        networks=[network],
    ) as sender:
        docker.container.wait(sender)
        return int(str(docker.container.logs(sender)))


@contextlib.contextmanager
def collector(
    name: str, network: str, settings: Mapping[str, str], files: Mapping[str, Any]
) -> Iterator[telemetry.Collector]:
    """Run the image's collector with other files in the place of some of its own."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        mounts = []
        for file, content in files.items():
            path = Path(directory, f"{file}.yaml")
            path.write_text(yaml.safe_dump(content), encoding="utf-8")
            mounts.append((path, f"/etc/otel/{file}.yaml", "ro"))
        yield stack.enter_context(
            telemetry.collector(name, network, settings, mounts=mounts, healthcheck=False)
        )


@contextlib.contextmanager
def files(name: str, replaced: Mapping[str, Any]) -> Iterator[tuple[Subject, str]]:
    """Run a collector that writes files, on a network of its own."""
    with (
        harness.network(f"{harness.RUN}-{name}") as network,
        collector(name, network, {}, replaced) as one,
    ):

        def stored() -> int:
            return int(str(docker.container.execute(one.container, ["sh", "-c", FILE_COUNT])))

        one.send_spans("first", 1)
        yield Subject(one, name, stored, later=False), network


@contextlib.contextmanager
def clickhouse(name: str, image: str, replaced: Mapping[str, Any]) -> Iterator[tuple[Subject, str]]:
    """Run a collector with a ClickHouse of its own."""
    with (
        harness.network(f"{harness.RUN}-{name}") as network,
        telemetry.clickhouse(f"{name}-store", network, image) as store,
        collector(name, network, telemetry.CLICKHOUSE_SETTINGS, replaced) as one,
    ):

        def stored() -> int:
            return int(store.rows("SELECT count() AS spans FROM otel_traces")[0]["spans"])

        one.send_spans("first", 1)
        yield Subject(one, name, stored, later=True), network


def collectors(blocks: int, requests: int) -> dict[str, list[float]]:
    """Return spans for each second of processor time, block by block, of every collector."""
    image = third_party.ensure([CLICKHOUSE], source="auto", ca=None)[CLICKHOUSE]
    ours = patient(merged("clickhouse"))
    in_memory_only = patient(in_memory(merged("clickhouse")))
    with contextlib.ExitStack() as stack:
        subjects = [
            stack.enter_context(files("file-bare", {"base": bare("file"), "file": {}})),
            stack.enter_context(files("file", {})),
            stack.enter_context(
                clickhouse(
                    "clickhouse-bare",
                    image,
                    {"base": bare("clickhouse"), "clickhouse": {}, "kept": {}},
                )
            ),
            stack.enter_context(
                clickhouse("clickhouse-memory", image, {"clickhouse": in_memory_only})
            ),
            stack.enter_context(clickhouse("clickhouse", image, {"clickhouse": ours})),
        ]
        rates: dict[str, list[float]] = {subject.name: [] for subject, _ in subjects}
        idle = {subject.name: subject.idle() for subject, _ in subjects}
        for block in range(blocks + 1):
            for subject, network in subjects:
                rate = subject.measure(network, requests, idle[subject.name])
                if block:  # the first one opens connections and makes tables
                    rates[subject.name].append(rate)
    return rates


def main() -> None:
    """Print the comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--requests", type=int, default=80)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--raw", type=Path)
    options = parser.parse_args()
    inspect.require()
    parts = options.parts or PARTS
    raw: dict[str, dict[str, list[float]]] = {}
    if "collectors" in parts:
        raw["spans_per_cpu_second"] = collectors(options.blocks, options.requests)
    if "server" in parts:
        raw["turns_per_cpu_second"] = turns.per_second(options.blocks, options.turns)
    measured = {name: values for group in raw.values() for name, values in group.items()}
    for title, ours, theirs, mark in COMPARED:
        if ours in measured:
            pairs = zip(measured[ours], measured[theirs], strict=True)
            ratios = [one / other for one, other in pairs]
            print(f"{title:28} {statistics.median(measured[ours]):9.1f} per processor second")
            print(f"{'':28} {spread(ratios, '.3f')} of bare, at least {mark} wanted")
    if options.raw:
        options.raw.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
