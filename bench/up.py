"""How long `inv up` takes from new volumes until everything is healthy: each topology in turn, and its ratio to the first.

    python -m bench.up [TOPOLOGY[:REPLICAS]...] [--runs N] [--raw FILE]

By default `single` and `prod` with two servers, whose ratio has a mark of 1.5. The images must be there. A busy machine slows all of
a round, so only the ratio within a round is worth comparing; the processor time of the containers that still run says what there
was to do. Then the same once more, with nothing to do, beside compose alone: `docker compose up --detach` with the same files and
variables, which `inv up` may exceed by a second. (With `--wait` compose fails as soon as a one-shot service has ended.)
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bench.idle import free_port
from letta_stack.base import process
from letta_stack.base.paths import ROOT, SECRETS
from letta_stack.image.sources import Sources
from letta_stack.topology import lifecycle
from letta_stack.topology.project import Project, port_flags
from tests.support import processor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.topology.runners.compose import Compose

MEASURED = ("single", "prod:2")


@dataclass(frozen=True)
class Call:
    """A command, on the clock and of the processors, in seconds, those of the engine left out."""

    seconds: float
    processor_seconds: float

    @classmethod
    def of(cls, command: Sequence[str], variables: Mapping[str, str] | None = None) -> Call:
        """Run it."""
        began, before = time.monotonic(), os.times()
        process.capture(command, cwd=ROOT, env=variables)
        after, seconds = os.times(), time.monotonic() - began
        user, system = (
            after.children_user - before.children_user,
            after.children_system - before.children_system,
        )
        return cls(seconds, user + system)


@dataclass(frozen=True)
class Start:
    """One `inv up`, on the clock and of the processors, in seconds; and a second one, beside compose alone."""

    what: str
    seconds: float
    processor_seconds: float
    unchanged: Call
    compose: Call


def compose_alone(project: Project) -> Call:
    """Start what runs already with compose, from the same files and with the same variables."""
    sources = Sources.of(images="auto", otelcol="auto", letta_source="", ca="")
    prepared, _ = lifecycle.prepare(project, sources)
    runner = cast("Compose", prepared.runner)
    return Call.of(runner.argv("up", "--detach", "--no-build"), runner.variables)


def measure(what: str) -> Start:
    """Start a topology on new volumes, start it again, and remove it with them."""
    name, _, replicas = what.partition(":")
    project = Project.of(name, project=f"letta-stack-up-{uuid.uuid4().hex[:8]}", replicas=replicas)
    flags = ["--env", name, "--project", project.name]
    ports = {one: free_port() for one in port_flags(project.topology)}
    given = [word for one, port in ports.items() for word in (one.flag, port)]
    invoke = [sys.executable, "-m", "invoke"]
    up = [*invoke, "up", *flags, *given, *(["--replicas", replicas] if replicas else [])]
    try:
        first = Call.of(up)
        running = [one.container for one in project.runner.states() if one.state == "running"]
        used = sum(processor.seconds(container) for container in running)
        return Start(
            what,
            first.seconds,
            used,
            unchanged=Call.of(up),
            compose=compose_alone(
                project.with_variables({one.variable: port for one, port in ports.items()})
            ),
        )
    finally:
        process.capture([*invoke, "down", *flags, "--volumes", "--yes"], cwd=ROOT)
        shutil.rmtree(SECRETS / project.name, ignore_errors=True)


def main() -> None:
    """Measure what was asked for, in rounds; print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("topology", nargs="*", default=MEASURED)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--raw", type=Path)
    arguments = parser.parse_args()
    rounds = [[measure(what) for what in arguments.topology] for _ in range(arguments.runs)]
    for column, what in enumerate(arguments.topology):
        mine = [one[column] for one in rounds]
        ratio = statistics.median(one[column].seconds / one[0].seconds for one in rounds)
        print(
            f"{what:16}{statistics.median(one.seconds for one in mine):7.1f} s, "
            f"{statistics.median(one.processor_seconds for one in mine):5.1f} s of the processors, ratio {ratio:.2f}"
        )
        print(
            f"{'  unchanged':16}{statistics.median(one.unchanged.seconds for one in mine):7.1f} s, "
            f"{statistics.median(one.compose.seconds for one in mine):.1f} s compose alone; of the processors "
            f"{statistics.median(one.unchanged.processor_seconds for one in mine):.1f} s and "
            f"{statistics.median(one.compose.processor_seconds for one in mine):.1f} s"
        )
    if arguments.raw:
        raw = [asdict(start) for one in rounds for start in one]
        arguments.raw.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
