"""Looks at an original, refuses what cannot be taken over, and says what would be done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console
from letta_stack.errors import BadValue, NotRunning, SourceNewer, SourceOlder
from letta_stack.operate import plan, postgres, restore_checks
from letta_stack.operate.adopt import facts, sealing
from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.operate.adopt.facts import Facts
    from letta_stack.operate.adopt.source import Source
    from letta_stack.operate.postgres import Postgres
    from letta_stack.topology.project import Project

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


def show(project: Project, opened: Source, order: Order, image: str) -> Found:
    """Look, refuse what cannot be taken over, and report."""
    found = look(opened, order, image)
    if present := running(project):
        refuse_for(present, found.facts)
    for line in report(project, found, new=is_new(project)):
        console.result(line)
    return found


def is_new(project: Project) -> bool:
    """Say whether there is nothing yet that a takeover could replace."""
    return not project.runner.states() and not project.runner.volumes()


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
