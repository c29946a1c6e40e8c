"""`inv upgrade`: a project that an older letta-stack started becomes one of this checkout."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import console, lock, process
from letta_stack.engine import inspect
from letta_stack.errors import (
    BadValue,
    DeployRefused,
    LettaStackError,
    NotRunning,
    NotWithMembers,
    SourceNewer,
    SourceUnknown,
    UpgradeFailed,
)
from letta_stack.image.sources import Sources
from letta_stack.operate import backup as backups
from letta_stack.operate import deploy, dump, plan, postgres
from letta_stack.operate.adopt import major
from letta_stack.topology import (
    as_running,
    capacity,
    inputs,
    lifecycle,
    secret_files,
    signed,
    upgrading,
)
from letta_stack.topology.catalogue import DATABASE, SERVER
from letta_stack.topology.deployed import IMAGE_VARIABLE

if TYPE_CHECKING:
    from letta_stack.operate.plan import Image, Migration
    from letta_stack.topology.inputs import Data
    from letta_stack.topology.project import Project


@dataclass(frozen=True)
class Order:
    """What the operator asked for."""

    postgres_image: str = ""
    dry_run: bool = False
    maintenance: bool = False
    yes: bool = False


@dataclass(frozen=True)
class Step:
    """What there is, and what this checkout would make of it."""

    old: Image | None  # of the server, None if it has no container
    new: Image
    data: Data | None
    reader: str  # image that has worked on the data, "" if nobody knows
    migration: Migration | None  # None where the database does not run
    database: str


def upgrade(project: Project, order: Order, sources: Sources | None = None) -> None:
    """Bring a project to the images, the PostgreSQL and the schema of this checkout.

    Raises ``NotRunning``, ``DeployRefused``, ``SourceNewer``, ``BackupNoRoom`` and what ``signed.check`` raises before anything
    changes, ``UpgradeFailed`` and what ``deploy`` raises afterwards.
    """
    if not project.topology.has_server:
        raise BadValue(f"--env {project.topology.name} keeps nothing; `inv up` starts it anew")
    if upgrading.unfinished(project.name):
        if order.dry_run:
            upgrading.refuse(project)
        with lock.held(project.name):
            major.undo(project)
    elif not project.runner.states() and not project.runner.volumes():
        raise NotRunning(f"there is no {project.name}; start it with `inv up {project.flags}`")
    project = as_running.keep(project)
    sources = sources or Sources.of(images="auto", otelcol="auto", letta_source="", ca="")
    step = look(project, order, sources)
    signed.check(project, step.new.reference)
    refuse(project, step)
    for line in report(project, step):
        console.result(line)
    if order.dry_run:
        return
    if step.data and step.data.major != step.data.program:
        if not order.yes:
            lifecycle.confirm(f"stop {project.name} for a dump and a restore of its database?")
        with lock.held(project.name):
            aside = major.move(
                project, step.data, image=step.reader, database=step.database, sources=sources
            )
        console.result(
            f"{project.name} runs PostgreSQL {step.data.program}; its data from before are in the volume {aside}: "
            f"`docker volume rm {aside}` when you need them no more"
        )
        return
    if any(one.replicated for one in project.topology.services) and step.migration is not None:
        deploy.deploy(project, deploy.Order(maintenance=order.maintenance))
        # By the name that they were just made from: another name of the same image would replace them at once.
        lifecycle.up(project.with_variables({IMAGE_VARIABLE: step.new.tag}), sources)
    else:
        replace(project, step, sources)
    console.result(f"{project.name} is up to date")


def look(project: Project, order: Order, sources: Sources) -> Step:
    """Find out what there is and what would come."""
    engine = inspect.require()
    variables = capacity.variables(engine)
    if project.topology.secrets:
        variables |= secret_files.store(project).user
    config = project.with_variables(variables).runner.config()
    reference = str(config["services"][SERVER]["image"])
    # Also for a dry run: which PostgreSQL an image has is only known once it is there.
    images = sources.prepare(project.topology.images, engine, server=reference)
    containers = {one.service: one.container for one in project.runner.states()}
    old = plan.image(deploy.image_of(containers[SERVER])) if SERVER in containers else None
    data = inputs.data(config, images)
    holder = containers.get(SERVER if data and data.embedded else DATABASE.name, "")
    reader = order.postgres_image or (deploy.image_of(holder) if holder else "")
    needed = None
    with contextlib.suppress(NotRunning):
        revision = str(dump.facts(postgres.of(project))["revision"] or "")
        needed = plan.migration(revision, plan.migrations_of(reference))
    settings = config["services"].get(DATABASE.name, {}).get("environment") or {}
    database = str(settings.get("POSTGRES_DB") or "letta")
    return Step(old, plan.image(reference), data, reader, needed, database)


def refuse(project: Project, step: Step) -> None:
    """Raise for data that this checkout cannot take over."""
    data = step.data
    if data is None or data.major == data.program:
        return
    if project.topology.members:
        raise NotWithMembers(
            f"{data.source} has the data of PostgreSQL {data.major}, and several members cannot be brought to {data.program} "
            "in their place: bring the data into a project of another name by a backup, see docs/topologies/ha.md"
        )
    if data.major > data.program:
        raise SourceNewer(
            f"{data.source} has the data of PostgreSQL {data.major}, and here is {data.program}: it was used by a newer "
            "letta-stack; start that one"
        )
    if data.embedded:
        raise DeployRefused(
            f"{data.source} has the data of PostgreSQL {data.major}; take them over into a project beside it: inv adopt "
            f"--from {data.source} --project {project.name}-{data.program} --postgres-image IMAGE-OF-BEFORE"
        )
    if not step.reader:
        raise SourceUnknown(
            f"no container says which image worked on {data.source}; name one with PostgreSQL {data.major} and pgvector: "
            "--postgres-image REF"
        )


def report(project: Project, step: Step) -> list[str]:
    """Say what there is and what would be done, in lines."""
    old = f"{step.old.digest[7:19]} (Letta {step.old.letta_version})" if step.old else "none"
    same = step.old is not None and step.old.digest == step.new.digest
    lines = [
        f"server      {old} -> {'the same' if same else f'{step.new.digest[7:19]} (Letta {step.new.letta_version})'}"
    ]
    if step.data:
        change = "" if step.data.major == step.data.program else f" -> {step.data.program}"
        lines.append(f"PostgreSQL  {step.data.major}{change}, data in {step.data.source}")
    if step.migration is None:
        lines.append(
            "migration   known when the database runs; it does not now, so there is no backup either"
        )
    else:
        steps = ", ".join(step.migration.steps) or "none"
        window = ", which needs --maintenance" if step.migration.breaking else ""
        lines.append(f"migration   {steps}{window}")
    if step.data and step.data.major != step.data.program:
        way = "everything stops; dump, old data kept in a volume, new database, restore, compare, switch"
    elif any(one.replicated for one in project.topology.services) and step.migration is not None:
        way = "backup, migration, new replicas beside the old ones (inv deploy), then the other services"
    else:
        way = "backup, then the containers are replaced; the image from before comes back if the new one does not start"
    return [*lines, f"way         {way}"]


def replace(project: Project, step: Step, sources: Sources) -> None:
    """Replace the containers of a project with one server; those from before come back if the new ones do not work."""
    made = ""
    if step.migration is not None:
        with lock.held(project.name):
            made = backups.before(project, reason="before an upgrade").id
    if step.old:
        process.capture(["docker", "tag", step.old.digest, step.old.tag])
    try:
        lifecycle.up(project, sources)
    except LettaStackError as error:
        if step.old is None or step.old.digest == step.new.digest:
            raise
        back = project.with_variables({IMAGE_VARIABLE: step.old.tag})
        now = f"the image from before ({step.old.tag}) does not start either; its data are in backup {made or '(none)'}"
        with contextlib.suppress(LettaStackError):
            lifecycle.up(back, sources)
            now = f"the image from before runs again ({IMAGE_VARIABLE}={step.old.tag})"
        raise UpgradeFailed(f"{error}; {now}") from error
