"""Nobody notices a deployment: requests and streams at a steady rate while servers are replaced again and again.

    python -m bench.load.deploys [--env prod|kubernetes] [--requests N] [--raw FILE]

20 clients of the SDK call once a second, 20 more have a stream open all the time. Meanwhile two images take turns, and at the
end one is rolled back. The whole, 20 000 requests, takes 17 minutes. On Kubernetes three servers run on the cluster for trials.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.load import locusts
from letta_stack.base import process
from letta_stack.base.paths import STATE
from letta_stack.operate import deploy
from letta_stack.operate.faults import run, workload
from letta_stack.topology import deployed as history
from tests.smoke import harness, on_kubernetes
from tests.smoke.conftest import deployed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from letta_stack.operate.faults.stack import Stage

CLIENTS = 20  # one request a second each
STREAMS = 20
STREAM_WORDS = 80  # twelve seconds
REPLICAS = 3  # on Kubernetes
MARK_SECONDS = 60.0  # of a rollback


def seconds_of(call: object, *arguments: Any, **options: Any) -> float:
    """Return how long a call takes."""
    began = time.monotonic()
    call(*arguments, **options)  # type: ignore[operator]
    return round(time.monotonic() - began, 1)


@dataclass(frozen=True)
class Subject:
    """What is deployed to."""

    stage: Stage
    deploy: Callable[[str], None]
    rollback: Callable[[], None]


@contextlib.contextmanager
def on_one_host() -> Iterator[Subject]:
    """Run `prod`."""
    with deployed("prod", "deploys", harness.PROVIDER) as deployment:
        project = deployment.stack
        try:
            yield Subject(
                run.of(project),
                lambda image: deploy.deploy(project, deploy.Order(image=image, backup=False)),
                lambda: deploy.rollback(project, dry_run=False),
            )
        finally:
            for past in history.history(project.name):
                process.probe(["docker", "image", "rm", past.tag])
            shutil.rmtree(STATE / project.name, ignore_errors=True)


@contextlib.contextmanager
def on_cluster() -> Iterator[Subject]:
    """Run three servers on the cluster for trials, which has room for one more."""
    with on_kubernetes.deployed(
        "--replicas", str(REPLICAS), LETTA_STACK_CPUS_RESERVED="0.1"
    ) as one:
        flags = on_kubernetes.FLAGS
        yield Subject(
            on_kubernetes.stage(one),
            lambda image: on_kubernetes.inv(
                *("deploy", *flags, "--image", image, "--no-backup"), environment=one.settings
            ),
            lambda: on_kubernetes.inv("rollback", *flags, environment=one.settings),
        )


SUBJECTS = {"prod": on_one_host, "kubernetes": on_cluster}


def prove(subject: Subject, images: tuple[str, str], requests: int) -> dict[str, Any]:
    """Deploy in a loop as long as the clients work, and roll back at the end."""
    stack, seconds = subject.stage, requests / CLIENTS
    deploys: list[float] = []
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(2) as pool:
        calls = pool.submit(locusts.run, stack, "Api", users=CLIENTS, seconds=seconds)
        streams = pool.submit(
            locusts.run, stack, "Listener", users=STREAMS, seconds=seconds, words=STREAM_WORDS
        )
        for image in cycle(images):
            deploys.append(seconds_of(subject.deploy, image))
            # One more would outlive the clients, or they could not even begin.
            if time.monotonic() + deploys[-1] > end or calls.done() or streams.done():
                break
        rollback = seconds_of(subject.rollback)
    return {
        "calls": {name: asdict(one) for name, one in calls.result().rows.items()},
        "streams": {name: asdict(one) for name, one in streams.result().rows.items()},
        "deploy_seconds": deploys,
        "rollback_seconds": rollback,
    }


def main() -> None:
    """Prove and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", choices=list(SUBJECTS), default="prod")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--raw", type=Path)
    options = parser.parse_args()
    with (
        SUBJECTS[options.env]() as subject,
        harness.variant("one", "LABEL bench=one") as one,
        harness.variant("two", "LABEL bench=two") as two,
        workload.model(subject.stage),
    ):
        found = prove(subject, (one, two), options.requests)
    if options.raw:
        options.raw.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    calls, streams = found["calls"]["all"], found["streams"]["messages.stream"]
    count = len(found["deploy_seconds"])
    print(
        f"{count} deployments, {found['deploy_seconds']} s each, a rollback in {found['rollback_seconds']} s"
    )
    print(f"calls:   {calls['failures']} failed of {calls['requests']}, p95 {calls['p95']:.0f} ms")
    print(f"streams: {streams['failures']} cut of {streams['requests']}")
    if calls["failures"] or streams["failures"]:
        raise SystemExit("somebody noticed")


if __name__ == "__main__":
    main()
