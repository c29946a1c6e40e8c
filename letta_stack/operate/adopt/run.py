"""`inv adopt`: a report, a dump of the original, a restore beside what is there, and then the switch.

1. the original is opened: live in its container, on a copy of its data directory, or over the network
2. everything that can refuse it does so; the report says what was found; a dry run ends here
3. dump, and the project is started unless it runs
4. what the project has is backed up; the dump is restored beside it, compared, its secrets encrypted with the project's key
5. the databases change names, the server migrates, the API is asked; else they change back
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console, lock
from letta_stack.base.paths import STATE
from letta_stack.base.progress import Progress
from letta_stack.engine import inspect
from letta_stack.errors import BadValue, LettaStackError, NotRunning, SourceNewer, SourceOlder
from letta_stack.image.sources import Sources
from letta_stack.operate import backup as backups
from letta_stack.operate import deploy, dump, plan, postgres, restore_checks, secrets_bundle, store
from letta_stack.operate.adopt import facts, load, place, sealing, source, switch
from letta_stack.topology import capacity, deployed, lifecycle, monitoring, preflight, secret_files
from letta_stack.topology.backups import RECIPIENTS_VARIABLE
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.runners.compose import PROJECT_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.operate.adopt.facts import Facts
    from letta_stack.operate.adopt.source import Source
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.tables import Table
    from letta_stack.topology.project import Project

FRESH = "letta_adopted"
# Variables of the old server that are of its surroundings, and none of this project's business.
PREFIXES = ("LETTA_PG_", "LETTA_REDIS_", "LETTA_ENCRYPTION", "LETTA_VERSION", "LETTA_ENVIRONMENT")


@dataclass(frozen=True)
class Order:
    """What the operator asked for."""

    source: str
    database: str = ""
    key_file: str = ""
    postgres_image: str = ""
    dry_run: bool = False
    yes: bool = False


@dataclass(frozen=True)
class Found:
    """The original, looked at and not refused."""

    source: Source
    facts: Facts
    key: str
    steps: tuple[str, ...]


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
    with source.opened(
        where, database=order.database, image=order.postgres_image or image
    ) as opened:
        found = look(opened, order, image)
        new = not project.runner.states() and not project.runner.volumes()
        if present := running(project):
            refuse_for(present, found.facts)
        for line in report(project, found, new=new):
            console.result(line)
        if order.dry_run:
            return
        if not (new or order.yes):
            lifecycle.confirm(f"replace the data of {project.name}?")
        work = STATE / project.name / "adopting"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700, parents=True)
        try:
            backups.check_room(work, found.facts.bytes)
            with Progress("dumping the original"):
                content = dump.write(opened.postgres, work / "database.dump")
            take(project, found, content, work / "database.dump", new=new)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    rows = sum(one.rows for one in content.values())
    console.result(
        f"{project.name} has taken {rows} rows in {len(content)} tables over; all are equal"
    )


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


def look(opened: Source, order: Order, image: str) -> Found:
    """Look at the original and refuse what cannot be taken over."""
    found = facts.of(opened.postgres)
    if not found.revision:
        raise SourceOlder(
            f"the database {opened.postgres.name} has no alembic_version: it is from before Letta had migrations; "
            "upgrade it with the last upstream release that reads it (letta/letta:0.16.8), then take it over"
        )
    rows = plan.migrations_of(image)
    if found.revision not in {own for own, _, _ in rows}:
        raise SourceNewer(
            f"the database is at revision {found.revision}, which the server here ({image}) does not know: it was used by "
            "a newer server; start that one here (LETTA_STACK_IMAGE)"
        )
    key = opened.place.key
    if order.key_file:
        key = read_key(order.key_file)
    cells = sealing.cells(opened.postgres, found.schema)
    key = sealing.decide(sealing.look(cells, key or "", image), key)
    return Found(opened, found, key, plan.migration(found.revision, rows).steps)


def read_key(path: str) -> str:
    """Return the key in a file. Raises ``BadValue``."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadValue(f"--key-file {path!r} cannot be read: {error}") from error


def running(project: Project) -> Postgres | None:
    """Return the database of the project, None if it does not run."""
    try:
        return postgres.of(project)
    except NotRunning:
        return None


def refuse_for(target: Postgres, found: Facts) -> None:
    """Raise for an original that would not fit into a running project."""
    here = int(target.value("SHOW server_version_num")) // 10000
    if found.major > here:
        raise SourceNewer(
            f"the original is of PostgreSQL {found.major}, here runs {here}, which cannot read its dump"
        )
    restore_checks.refuse_bytes(found.bytes, target)


def report(project: Project, found: Found, *, new: bool) -> list[str]:
    """Say what was found and what would be done, in lines."""
    key = "there is one" if found.key else "none: secrets are stored as they are"
    live = (
        "; it works on, so stop its server first if nothing may be lost"
        if found.source.live
        else ""
    )
    lines = facts.lines(
        found.facts, what=found.source.place.what + live, key=key, steps=found.steps
    )
    known = set(settable(project))
    named = sorted(
        name
        for name, value in found.source.place.environment.items()
        if value and name in known and not name.startswith(PREFIXES) and not project.setting(name)
    )
    if named:
        lines.append(f"settings    set for the old server and not here (.env): {', '.join(named)}")
    state = "is started with these data" if new else "is backed up, then its data are replaced"
    return [*lines, f"target      {project.name} {state}"]


def settable(project: Project) -> Sequence[str]:
    """Return the names of what a user can set for the server."""
    config = project.runner.config()
    environment: Mapping[str, object] = config["services"][SERVER].get("environment") or {}
    return list(environment)


def take(
    project: Project, found: Found, content: Mapping[str, Table], file: Path, *, new: bool
) -> None:
    """Restore the dump in the project and switch to it; remove the project again if this started it in vain."""
    try:
        if running(project) is None:
            lifecycle.up(project, sources())
        with lock.held(project.name):
            target = postgres.of(project)
            refuse_for(target, found.facts)
            if not new:
                back_up(project, found)
            load.load(target, file, content, schema=found.facts.schema, fresh=FRESH)
            server = backups.server_container(project)
            encrypt(target, found.key, server)
            switch.switch(project, target, server, fresh=FRESH, counts=found.facts.counts)
            if project.topology.monitoring:
                monitoring.teach(project)
    except LettaStackError:
        if new:
            project.runner.down(volumes=True)
        raise


def back_up(project: Project, found: Found) -> None:
    """Back up what the project has. Its encryption key stays where it is, so nobody need be able to read a copy of it."""
    directory = store.directory_of(project.name)
    to = backups.recipients([], project.setting(RECIPIENTS_VARIABLE), directory)
    reason = f"before the takeover of {found.source.place.what}"
    backups.create(project, directory=directory, to=to, omit=not to, reason=reason)


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
