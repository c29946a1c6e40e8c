"""`inv adopt`: a report, a dump of the original, a restore beside what is there, and then the switch.

1. the original is opened: live in its container, on a copy of its data directory, or over the network
2. everything that can refuse it does so; the report says what was found; a dry run ends here
3. dump, and the project is started unless it runs
4. what the project has is backed up; the dump is restored beside it, compared, its secrets encrypted with the project's key
5. the databases change names, the server migrates, the API is asked; else they change back
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from letta_stack.base import console, lock
from letta_stack.base.paths import STATE
from letta_stack.base.progress import Progress
from letta_stack.engine import inspect
from letta_stack.errors import BadValue, LettaStackError
from letta_stack.image.sources import Sources
from letta_stack.operate import backup as backups
from letta_stack.operate import deploy, dump, plan, postgres, secrets_bundle
from letta_stack.operate.adopt import examine, load, place, sealing, source, switch
from letta_stack.operate.holders.one_host import OneHost
from letta_stack.topology import (
    capacity,
    deployed,
    lifecycle,
    monitoring,
    preflight,
    secret_files,
    upgrading,
)
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.runners.compose import PROJECT_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from letta_stack.operate.adopt.examine import Found, Order
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.tables import Table
    from letta_stack.topology.project import Project

DUMP = "database.dump"
FRESH = "letta_restore_adopted"  # `inv doctor` knows the names of what killed commands leave


def adopt(project: Project, order: Order) -> None:
    """Take the database of a Letta server over into a project; the original is only read.

    Raises ``SourceUnknown``, ``SourceInUse``, ``SourceForeign``, ``SourceNewer``, ``SourceOlder``, ``SourceKeyMissing``,
    ``WrongOwner``, ``BackupNoRoom``, ``NotConfirmed`` before anything changes, ``AdoptFailed`` afterwards.
    """
    if not project.topology.has_server:
        raise BadValue(f"--env {project.topology.name} has no server that could take data over")
    where = place.find(order.source)
    refuse_own(project, where)
    image = server_image(project, make=not order.dry_run)
    readers = order.postgres_image or image
    if order.dry_run:
        with source.opened(where, database=order.database, image=readers) as opened:
            examine.show(project, opened, order, image)
        return
    work = STATE / project.name / "adopting"
    with lock.held(project.name):
        upgrading.refuse(project)
        try:
            with source.opened(where, database=order.database, image=readers) as opened:
                found = examine.show(project, opened, order, image)
                content = dump_original(project, order, found, work)
            take(project, found, content, work / DUMP)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    rows = sum(one.rows for one in content.values())
    console.result(
        f"{project.name} has taken {rows} rows in {len(content)} tables over; all are equal"
    )


def dump_original(project: Project, order: Order, found: Found, work: Path) -> dict[str, Table]:
    """Dump, once that is confirmed where data would be replaced; return what the tables have."""
    if not (examine.is_new(project) or order.yes):
        lifecycle.confirm(f"replace the data of {project.name}?")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700, parents=True)
    backups.check_room(work, found.facts.bytes)
    with Progress("dumping the original"):
        return dump.write(found.source.postgres, work / DUMP)


def refuse_own(project: Project, where: place.Place) -> None:
    """Raise ``BadValue`` for the project itself."""
    labels = (place.inspected("container", where.container).get("Config") or {}).get("Labels") or {}
    if labels.get(PROJECT_LABEL) == project.name or where.mount in project.runner.volumes():
        raise BadValue(f"--from names {project.name} itself; give another --project to copy it")


def server_image(project: Project, *, make: bool) -> str:
    """Return the image of the project's server: what runs, else what `inv up` would start, made if it is not there."""
    for state in project.runner.states():
        if state.service == SERVER:
            return deploy.image_of(state.container)
    engine = inspect.require()
    variables = capacity.variables(engine) | deployed.variables(project.name)
    if project.topology.secrets:
        variables |= secret_files.store(project).user
    reference = str(project.with_variables(variables).runner.config()["services"][SERVER]["image"])
    if make:
        sources().prepare((), engine, server=reference)
    plan.image(reference)
    preflight.architecture(reference, engine)
    return reference


def sources() -> Sources:
    """Return where images come from when nobody says."""
    return Sources.of(images="auto", otelcol="auto", letta_source="", ca="")


def take(project: Project, found: Found, content: Mapping[str, Table], file: Path) -> None:
    """Restore the dump in the project and switch to it; remove the project again if this started it in vain."""
    new = examine.is_new(project)
    try:
        if examine.running(project) is None:
            lifecycle.bring_up(project, sources())
        target = postgres.of(project)
        examine.refuse_for(target, found.facts)
        if not new:
            back_up(project, found)
        load.load(target, file, content, schema=found.facts.schema, fresh=FRESH)
        server = OneHost(project).server()
        encrypt(target, found.key, server)
        switch.switch(project, target, server, fresh=FRESH, counts=found.facts.counts)
        if project.topology.monitoring:
            monitoring.teach(project)
    except (LettaStackError, KeyboardInterrupt):
        if new:
            project.runner.down(volumes=True)
        raise


def back_up(project: Project, found: Found) -> None:
    """Back up what the project has."""
    backups.before(project, reason=f"before the takeover of {found.source.place.what}")


def encrypt(target: Postgres, key: str, server: str) -> None:
    """Encrypt the secrets of the restored database with the key of the project."""
    own = secrets_bundle.collect(server).encryption_key
    image = deploy.image_of(server)
    try:
        with Progress("encrypting the secrets with the key of this project"):
            total, unread = sealing.renew(target, FRESH, key=key, new=own, image=image)
    except BaseException:
        load.clear(target, FRESH)
        raise
    console.say(f"secrets: {total - unread} of {total} encrypted with the key of this project")
    if unread:
        console.say(
            f"warning: the old key does not open {unread} of them; the old server could not read them either"
        )
