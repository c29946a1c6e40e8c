"""Causes faults one after the other in a running project and holds what happens against what is expected."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

from letta_stack.base import console, lock, process
from letta_stack.base.paths import REPORTS
from letta_stack.base.wait import wait_until
from letta_stack.certs import store as certificates
from letta_stack.errors import FaultsFailed, FaultsRefused, LettaStackError
from letta_stack.operate import replicas
from letta_stack.operate.faults import audit, catalogue, load, report, sql_client, workload
from letta_stack.operate.faults.client import Client
from letta_stack.operate.faults.load import Load
from letta_stack.operate.faults.model import READ, Outcome, breaches
from letta_stack.operate.faults.scene import Scene
from letta_stack.operate.faults.stack import Stack, docker
from letta_stack.secrets import kinds
from letta_stack.secrets.store import Store
from letta_stack.topology import running
from letta_stack.topology.catalogue import GATEWAY
from letta_stack.topology.runners.protocol import TLS_PORT, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from letta_stack.operate.faults.model import Fault
    from letta_stack.operate.faults.stack import Stage
    from letta_stack.topology.project import Project

BEFORE_SECONDS = 2.0  # of the load, before a fault
AFTER_SECONDS = 3.0  # and once everything is healthy again
GIVE_UP_SECONDS = 300.0
LOOK_SECONDS = 0.5  # between two looks at the containers
STAGING = "staging"
ENVIRONMENT = "LETTA_ENVIRONMENT"
PLAIN_PORT = 8080  # inside the gateway


@dataclass(frozen=True)
class Moments:
    """When what happened, by the monotonic clock."""

    began: float
    acted: float
    undone: float  # when it began, where nothing has to be undone
    whole: float


@dataclass(frozen=True)
class Order:
    """What the operator asked for."""

    only: Sequence[str] = ()  # names; all if there is none
    seed: int | None = None  # None: today's date
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False


def faults(project: Project, order: Order) -> None:
    """Cause faults in a staging stack, print the table, and leave it in reports/.

    Raises ``BadValue``, ``NotRunning``, ``FaultsRefused`` before anything happens, ``FaultsFailed`` if an assertion does
    not hold.
    """
    chosen = catalogue.choose(order.only, members=bool(project.topology.members))
    seed = int(f"{datetime.now(UTC):%Y%m%d}") if order.seed is None else order.seed
    stack = of(project)
    environment = environment_of(stack)
    if environment != STAGING:
        raise FaultsRefused(
            f"{project.name} does not say that it is a staging stack: {ENVIRONMENT} is {environment!r} in its servers; "
            f"faults break it on purpose, so set {ENVIRONMENT}={STAGING} in .env and `inv up {project.flags}`"
        )
    if order.dry_run:
        console.result(report.plan(chosen, {one.name: one.needs(stack) for one in chosen}))
        return
    if not order.yes:
        raise FaultsRefused(
            f"{len(chosen)} faults would kill processes of {project.name} and stop its services; add --yes if you mean it, "
            "--dry-run to see them"
        )
    outcomes = cause(stack, chosen, seed=seed)
    console.result(report.to_json(outcomes, seed) if order.as_json else report.to_text(outcomes))
    failed = [one.fault for one in outcomes if not one.passed]
    if failed:
        raise FaultsFailed(
            f"{len(failed)} of {len(outcomes)} faults did more than they may: {', '.join(failed)}; see "
            f"{REPORTS}, and repeat with --only NAME --seed {seed}"
        )


def of(project: Project) -> Stack:
    """Look at a running project. Raises ``FaultsRefused`` if it is not healthy, ``NotRunning``."""
    running.require(project, project.runner.states())
    gateway = GATEWAY.name
    if gateway not in project.topology.names or not project.topology.secrets:
        raise FaultsRefused(
            f"--env {project.topology.name} has no faults; use --env prod or observability"
        )
    one_shots = project.topology.one_shots
    states = [one for one in project.runner.states() if one.service not in one_shots]
    container = next((one.container for one in states if one.service == gateway), "")
    if not container or any(not one.ready for one in states):
        overview = summarise(states, project.expected)
        raise FaultsRefused(
            f"{project.name} is not healthy before any fault ({overview}); see `inv doctor {project.flags}`"
        )
    client = Client(
        url=published_url(container),
        password=Store.of(project.name).read(kinds.SERVER),
        verify=verify(project.name),
    )
    image = replicas.of(project)[0].image
    return Stack(project, client, image, tuple(one.container for one in states))


def published_url(gateway: str) -> str:
    """Return where a gateway is published on this machine."""
    for port, scheme in ((TLS_PORT, "https"), (PLAIN_PORT, "http")):
        found = process.probe(["docker", "port", gateway, f"{port}/tcp"]).stdout.split()
        if found:
            return f"{scheme}://localhost:{found[0].rpartition(':')[2]}"
    raise FaultsRefused(f"{gateway} publishes no port; faults need the API")


def verify(project: str) -> str | bool:
    """Return the authority whose certificates clients take, if the project has its own."""
    authority = certificates.directory(project) / certificates.AUTHORITY
    return str(authority) if authority.is_file() else True


def environment_of(stack: Stack) -> str:
    """Return what the running servers call themselves."""
    server = replicas.of(stack.project)[0].container
    lines = json.loads(docker("container", "inspect", "--format={{json .Config.Env}}", server))
    values = dict(str(line).partition("=")[::2] for line in lines)
    return values.get(ENVIRONMENT, "")


def cause(stack: Stack, chosen: Sequence[Fault], *, seed: int) -> list[Outcome]:
    """Cause faults one after the other; what came of them is in the report even if it ends early. Raises ``WaitTimedOut``."""
    outcomes: list[Outcome] = []
    report.LOG.unlink(missing_ok=True)
    with (
        lock.held(f"{stack.project.name}-faults"),
        undone_when_ended(),
        workload.model(stack) as model,
    ):
        console.say(f"{len(chosen)} faults on {stack.project.name}, seed {seed}")
        try:
            for number, fault in enumerate(chosen, start=1):
                console.say(f"{number}/{len(chosen)} {fault.name}: {fault.what}")
                outcome = one(stack, model, fault, seed)
                outcomes.append(outcome)
                console.say(f"  {report.line(outcome)}")
        finally:
            report.write(outcomes, seed, name=report.name_of(stack.project))
    return outcomes


@contextlib.contextmanager
def undone_when_ended() -> Iterator[None]:
    """Make the signal that ends a service do what Ctrl-C does: everything is undone on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def one(stack: Stage, model: workload.Model, fault: Fault, seed: int) -> Outcome:
    """Cause one fault under load and look at what it left."""
    if isinstance(stack, Stack) and (reason := fault.needs(stack)):
        return Outcome(fault.name, fault.what, skipped=reason)
    recover(stack)
    with workload.agents(stack) as agents:
        running = Load(stack.client, agents)
        scene = Scene(stack, running, Random(f"{seed} {fault.name}"), model)  # noqa: S311 - no secret
        with sql_client.beside(stack) as writer, running:
            time.sleep(BEFORE_SECONDS)
            began = acted = time.monotonic()
            whole_since = None
            try:
                with fault.act(scene):
                    acted = time.monotonic()
                    whole_since = watch(stack, acted + fault.seconds)
            except LettaStackError as error:
                scene.breaches.append(f"it could not be caused: {error}")
            since = time.monotonic() if fault.undo else acted
            if fault.undo or whole_since is None:
                whole_since = recover(stack)
            time.sleep(AFTER_SECONDS)
        outcome = look(stack, fault, scene, Moments(began, acted, since, whole_since))
    rows = None
    if writer and isinstance(stack, Stack):
        rows = sql_client.rows(stack, writer.written)
    outcome = dataclasses.replace(outcome, rows=rows)
    return dataclasses.replace(outcome, breaches=tuple(breaches(fault.expect, outcome)))


def watch(stack: Stage, until: float) -> float | None:
    """Wait, and return since when the stack is whole; None if it is not."""
    since: float | None = None
    while (now := time.monotonic()) < until:
        since = (since or now) if stack.ready() else None
        time.sleep(max(0.0, min(now + LOOK_SECONDS, until) - time.monotonic()))
    return since


def recover(stack: Stage) -> float:
    """Wait until the stack is whole, and return the moment. Raises ``WaitTimedOut``."""
    wait_until(
        stack.ready,
        timeout=GIVE_UP_SECONDS,
        interval=LOOK_SECONDS,
        describe=lambda: ", ".join(map(str, stack.states())) or "no container is left",
    )
    return time.monotonic()


def look(stack: Stage, fault: Fault, scene: Scene, moments: Moments) -> Outcome:
    """Count what the load saw and what is stored."""
    attempts = scene.load.attempts
    report.log(fault.name, attempts)
    # Containers may be healthy and requests fail all the same.
    failing = [
        one.ended
        for one in attempts
        if one.kind == READ and one.began > moments.undone and not one.answer.done
    ]
    seconds = max([moments.whole, *failing]) - moments.undone
    late = [one for one in attempts if one.began > moments.acted + fault.expect.reads_after]
    good = load.acknowledged(attempts)
    rows = audit.stored(stack, scene.load.agents)
    expected = {one.trace for one in attempts if one.answer.done}
    return Outcome(
        fault=fault.name,
        what=fault.what,
        seconds_to_healthy=round(seconds, 1),
        requests=load.counts(attempts),
        late_reads=load.counts(late)[READ],
        statuses=load.statuses(attempts),
        acknowledged=len(good),
        lost=len(audit.lost(good, rows)),
        stored_unacknowledged=audit.stored_unacknowledged(attempts, rows),
        longest_gap=round(load.longest_gap(attempts, moments.began), 1),
        spans_expected=len(expected),
        spans_lost=audit.spans_lost(stack, scene.load.family, expected),
        unclear=tuple(load.unclear(attempts)),
        notes=tuple(scene.notes),
        breaches=tuple(scene.breaches),
    )
