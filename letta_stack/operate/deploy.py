"""`inv deploy`: new replicas beside the old ones, and nobody notices. `inv rollback` is one with the image from before.

    1. checks, backup, migration
    2. as many new replicas as there are old ones, which serve on
    3. every new one healthy and known to the gateway, else the new ones go and nothing has changed
    4. the old ones end the requests that they have, and go

Every step looks at what is there, so a command that was killed anywhere is finished by running it again.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from letta_stack.base import console, lock, process
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.engine import inspect
from letta_stack.errors import (
    BadValue,
    CommandFailed,
    DeployFailed,
    LettaStackError,
    NothingToRollBack,
)
from letta_stack.image import server
from letta_stack.image.sources import Sources
from letta_stack.operate import backup as backups
from letta_stack.operate import dump, plan, postgres, replicas
from letta_stack.registry.reference import check_tag
from letta_stack.topology import (
    capacity,
    deployed,
    free_space,
    lifecycle,
    metrics,
    preflight,
    report,
    running,
    secret_files,
    signed,
)
from letta_stack.topology.catalogue import MIGRATION, SERVER
from letta_stack.topology.deployed import IMAGE_VARIABLE, Deployment, Unfinished

if TYPE_CHECKING:
    from letta_stack.operate.plan import Image, Migration
    from letta_stack.topology.project import Project


@dataclass(frozen=True)
class Order:
    """What the operator asked for."""

    image: str = ""  # "" is what compose would start
    version: str = ""  # the same as a version of the image that this project builds
    dry_run: bool = False
    maintenance: bool = False  # replicas may be stopped for a migration that they would not survive
    backup: bool = True


def deploy(project: Project, order: Order) -> None:
    """Bring another image, or other settings, to a running project without a failed request.

    Raises ``DeployRefused``, ``DeployFailed``, ``LettaCode``, ``WrongArchitecture``, ``NotRunning``, ``ProjectLocked``, and what
    ``signed.check`` raises.
    """
    with lock.held(project.name):
        _deploy(project, order)


def rollback(project: Project, *, dry_run: bool) -> None:
    """Deploy the image from before the present one. Raises ``NothingToRollBack`` and what ``deploy`` raises."""
    with lock.held(project.name):
        history = deployed.history(project.name)
        earlier = [one for one in history[:-1] if one.tag != history[-1].tag]
        if not earlier:
            raise NothingToRollBack(
                f"{project.name} ran no other image that `inv deploy` knows; name one: inv deploy --image REF"
            )
        _deploy(project, Order(image=earlier[-1].tag, dry_run=dry_run, backup=False))


def _deploy(project: Project, order: Order) -> None:
    if not any(service.replicated for service in project.topology.services):
        raise BadValue(
            f"--env {project.topology.name} has one server, so nothing can go on beside it; `inv up` replaces it"
        )
    running.require(project, project.runner.states())
    engine = inspect.require()
    project = project.with_variables(
        capacity.variables(engine) | secret_files.store(project).variables
    )
    reference = wanted(order) or project.runner.config()["services"][SERVER]["image"]
    target = plan.image(reference)
    preflight.architecture(reference, engine)
    signed.check(project, reference)
    present = replicas.of(project)
    begun = deployed.unfinished(project.name)
    # A killed deployment has both kinds, and its journal knows how many there were.
    count = begun.to.replicas if begun else len(present)
    database = postgres.of(project)
    needed = plan.migration(
        str(dump.facts(database)["revision"] or ""), plan.migrations_of(reference)
    )
    names = [one.container for one in present]
    for line in plan.summary(target, replicas=count, now=names, needed=needed):
        console.say(line)
    if not order.maintenance:
        plan.refuse_breaking(needed)
    if order.dry_run:
        return
    project = project.with_variables(
        Sources.of(images="auto", otelcol="auto", letta_source="", ca="").prepare(
            project.topology.images, engine, server=reference
        )
    )
    project = project.with_variables({IMAGE_VARIABLE: target.tag})
    begun = prepare(project, target, begun, count=count, backup=order.backup)
    if needed.steps:
        migrate(project, begun, needed)
    free_space.teach(project)
    shift(project, begun)
    console.result(f"{project.name} runs {reference} ({target.digest[7:19]}) with {count} replicas")


def wanted(order: Order) -> str:
    """Return the image that was asked for, "" if none was. Raises ``BadValue``."""
    if not order.version:
        return order.image
    if order.image:
        raise BadValue(f"--image {order.image} --version {order.version}: which of them? Give one")
    return f"{server.REPOSITORY}:{check_tag(order.version)}"


def prepare(
    project: Project, target: Image, begun: Unfinished | None, *, count: int, backup: bool
) -> Unfinished:
    """Keep the images, back up, and remember what begins; go on with what has begun if it is the same."""
    process.capture(["docker", "tag", target.digest, target.tag])
    if begun and begun.to.tag == target.tag:
        return begun
    if not deployed.history(project.name):
        remember_present(project, count)
    made = backups.before(project, reason=f"before {target.tag}").id if backup else ""
    fresh = Unfinished(started=time.time(), to=describe(target, count, made))
    deployed.begin(project.name, fresh)
    return fresh


def remember_present(project: Project, count: int) -> None:
    """Begin the history with what runs, so that there is something to go back to."""
    running = next(iter(replicas.of(project)), None)
    if running is None:
        return
    image = plan.image(image_of(running.container))
    process.capture(["docker", "tag", image.digest, image.tag])
    deployed.record(project.name, describe(image, count, ""))


def image_of(container: str) -> str:
    """Return the engine's id of the image that a container runs."""
    return process.capture(
        ["docker", "container", "inspect", "--format={{.Image}}", container]
    ).strip()


def describe(image: Image, count: int, backup: str) -> Deployment:
    """Write down what is deployed, when and by whom."""
    user = os.environ.get("SUDO_USER") or getpass.getuser()
    return Deployment(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who=f"{user}@{socket.gethostname()}",
        reference=image.reference,
        digest=image.digest,
        tag=image.tag,
        letta_version=image.letta_version,
        replicas=count,
        backup=backup,
    )


def migrate(project: Project, begun: Unfinished, needed: Migration) -> None:
    """Bring the schema to the image's, under the lock that the image itself takes."""
    _, old = replicas.split(replicas.of(project), begun)
    names = [one.container for one in old]
    if needed.breaking:
        console.say("maintenance: the replicas end their requests and stop")
        process.capture(["docker", "stop", *names])
    try:
        project.runner.run_once(MIGRATION.name)
        metrics.gauge(project.name, metrics.MIGRATED, 1)
    except CommandFailed as error:
        metrics.gauge(project.name, metrics.MIGRATED, 0)
        deployed.end(project.name)
        if needed.breaking:
            process.capture(["docker", "start", *names])
        raise DeployFailed(
            f"the migration failed and was rolled back ({error.last_line}); the old replicas serve"
        ) from error


def shift(project: Project, begun: Unfinished) -> None:
    """Start the new replicas, wait for them, and let the old ones go."""
    new, old = replicas.split(replicas.of(project), begun)
    missing = begun.to.replicas - len(new)
    try:
        if missing > 0:
            project.runner.scale(SERVER, len(new) + len(old) + missing)
        with Progress(f"starting {begun.to.replicas} replicas of {begun.to.tag}"):
            wait_until(
                lambda: all_ready(project, begun),
                timeout=lifecycle.HEALTHY_SECONDS,
                interval=0.5,
                describe="the new replicas are not healthy",
            )
        new, old = replicas.split(replicas.of(project), begun)
        replicas.wait_until_known(project, new)
    except LettaStackError as error:
        undo(project, begun)
        raise DeployFailed(
            f"{error}; the old replicas serve on and the new ones are removed: their last words are above"
        ) from error
    with Progress(f"letting {len(old)} old replicas end their requests"):
        replicas.leave_out(project, old)
        replicas.remove(old, drain=True)
    deployed.record(project.name, begun.to)
    deployed.end(project.name)


def all_ready(project: Project, begun: Unfinished) -> bool:
    """Say whether every new replica can take requests. Raises ``DeployFailed`` if one never will."""
    new, _ = replicas.split(replicas.of(project), begun)
    if broken := [f"{one.container} is {one.health or one.state}" for one in new if one.failed]:
        raise DeployFailed(", ".join(broken))
    return len([one for one in new if one.ready]) >= begun.to.replicas


def undo(project: Project, begun: Unfinished) -> None:
    """Remove the new replicas, showing what they said last, as long as old ones are there to serve."""
    new, old = replicas.split(replicas.of(project), begun)
    names = {one.container for one in new if not one.ready}
    for state in project.runner.states():
        if state.container in names:
            console.say(report.last_words(state))
    if old:
        stopped = [one.container for one in old if one.state != "running"]
        if stopped:
            process.capture(["docker", "start", *stopped])
        replicas.remove(new, drain=True)
    deployed.end(project.name)
    if begun.to.tag not in {one.tag for one in deployed.history(project.name)}:
        process.probe(["docker", "image", "rm", begun.to.tag])
