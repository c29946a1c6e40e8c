"""How long `inv up` takes from new volumes until everything is healthy: each topology in turn, and its ratio to the first.

    python -m bench.up [TOPOLOGY[:REPLICAS]...] [--runs N] [--raw FILE]

By default `single` and `prod` with two servers, whose ratio has a mark of 1.5. The images must be there. A busy machine slows all of
a round, so only the ratio within a round is worth comparing; the processor time of the containers that still run says what there
was to do.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.idle import free_port
from letta_stack.base import process
from letta_stack.base.paths import ROOT, SECRETS
from letta_stack.topology.project import Project, port_flags
from tests.support import processor

MEASURED = ("single", "prod:2")


@dataclass(frozen=True)
class Start:
    """One `inv up`, on the clock and of the processors, in seconds."""

    what: str
    seconds: float
    processor_seconds: float


def measure(what: str) -> Start:
    """Start a topology on new volumes, and remove it with them."""
    name, _, replicas = what.partition(":")
    project = Project.of(name, project=f"letta-stack-up-{uuid.uuid4().hex[:8]}")
    flags = ["--env", name, "--project", project.name]
    options = [word for one in port_flags(project.topology) for word in (one.flag, free_port())]
    options += ["--replicas", replicas] if replicas else []
    invoke = [sys.executable, "-m", "invoke"]
    try:
        began = time.monotonic()
        process.capture([*invoke, "up", *flags, *options], cwd=ROOT)
        seconds = time.monotonic() - began
        running = [one.container for one in project.runner.states() if one.state == "running"]
        return Start(what, seconds, sum(processor.seconds(container) for container in running))
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
    if arguments.raw:
        raw = [asdict(start) for one in rounds for start in one]
        arguments.raw.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
