"""The archive of a project: what pgBackRest has of it, and which moments it can bring back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.errors import (
    ArchiveBehind,
    ArchiveOff,
    ArchiveUnreachable,
    BadValue,
    LettaStackError,
    MomentOutOfRange,
    WaitTimedOut,
)
from letta_stack.operate import postgres
from letta_stack.topology.archive import ON, VARIABLE, wanted
from letta_stack.topology.backups import CREDENTIALS_VARIABLE
from letta_stack.topology.catalogue import ARCHIVE

if TYPE_CHECKING:
    from letta_stack.operate.postgres import Postgres
    from letta_stack.topology.project import Project

STANZA = "--stanza=letta"
OTHER = 99  # pgBackRest's state of a repository that it cannot read
SOON = "--io-timeout=10"  # a store that does not answer is asked again for as long as this
ARCHIVED_SECONDS = 120.0
# A transaction after every one that counts: recovery knows that it has come to its target when it finds a later one.
FINISH = "SELECT pg_current_xact_id();\nSELECT pg_walfile_name(pg_switch_wal());\n"
LAST = "SELECT last_archived_wal, extract(epoch FROM last_archived_time), last_failed_wal FROM pg_stat_archiver"


@dataclass(frozen=True)
class Range:
    """The moments that can be brought back, in UTC."""

    since: datetime
    until: datetime | None  # None while nobody knows: PostgreSQL does not run


def moment(text: str) -> datetime:
    """Read what the user gave for `--to-time`. Raises ``BadValue``."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        missing = "is no time" if found is None else "has no time zone"
        raise BadValue(f"--to-time {text!r} {missing}; write it as '2026-11-27 19:00:00+00'")
    return found.astimezone(UTC)


def container(project: Project) -> str:
    """Return the container that has the archive. Raises ``ArchiveOff``."""
    for state in project.runner.states():
        if state.service == ARCHIVE and state.state == "running":
            return state.container
    raise ArchiveOff(
        f"{project.name} keeps no archive, so only backups can be restored (`inv backup.list`); for the future set "
        f"{VARIABLE}={ON} in .env and run `inv up {project.flags}`"
    )


def known(project: Project) -> Range | None:
    """Return what can be brought back, None if no base backup is done yet. Raises ``ArchiveOff``, ``ArchiveUnreachable``."""
    command = ["docker", "exec", container(project)]
    command += ["pgbackrest", "info", STANZA, SOON, "--output=json"]
    info = json.loads(process.capture(command))
    if reason := unreachable(info):
        raise ArchiveUnreachable(
            f"the archive of {project.name} cannot be read ({reason}); check the store, and the file that {CREDENTIALS_VARIABLE} "
            f"names, then `inv up {project.flags}`"
        )
    since = oldest(info)
    return Range(since, archived_until(project)) if since else None


def unreachable(info: list[dict[str, Any]]) -> str:
    """Return why a repository cannot be read, in pgBackRest's words, "" if it can: the command itself ends well either way."""
    states = [one["status"] for stanza in info for one in stanza.get("repo", [])]
    said = next((one["message"] for one in states if one["code"] == OTHER), "")
    return " ".join(str(said).split())


def oldest(info: list[dict[str, Any]]) -> datetime | None:
    """Return the end of the first base backup of those in the answer of `pgbackrest info`."""
    ends = [
        one["timestamp"]["stop"]
        for stanza in info
        for one in stanza.get("backup", [])
        if not one.get("error")
    ]
    return datetime.fromtimestamp(min(ends), UTC) if ends else None


def archived_until(project: Project) -> datetime | None:
    """Return when the last segment was archived."""
    try:
        _, seconds, _ = state(postgres.of(project))
    except LettaStackError:
        return None
    return datetime.fromtimestamp(float(seconds), UTC) if seconds else None


def state(source: Postgres) -> list[str]:
    """Return the last segment that was archived, when that was in seconds of the epoch, and the last that failed; "" for none."""
    return source.query(LAST)[0]


def as_text(project: Project) -> str:
    """Say which moments can be brought back, "" where nobody asked for an archive."""
    if not wanted(project):
        return ""
    try:
        found = known(project)
    except LettaStackError as error:
        return f"point in time: cannot be asked: {error}"
    if found is None:
        return "point in time: none yet, the first base backup is not done"
    until = f"{found.until:%Y-%m-%d %H:%M:%S}" if found.until else "the last archived segment"
    return f"point in time: any from {found.since:%Y-%m-%d %H:%M:%S} to {until} UTC (--to-time)"


def check(project: Project, target: datetime, source: Postgres) -> None:
    """Raise ``MomentOutOfRange`` for a moment that the archive cannot bring back."""
    found = known(project)
    now = datetime.fromtimestamp(float(source.value("SELECT extract(epoch FROM now())")), UTC)
    if found is None or not found.since <= target < now:
        first = found.since.isoformat(" ", "seconds") if found else "no base backup yet"
        raise MomentOutOfRange(
            f"--to-time {target.isoformat(' ')} is not in the archive of {project.name}, which goes from {first} to now "
            f"({now.isoformat(' ', 'seconds')}); choose a time between, or a backup of `inv backup.list {project.flags}`"
        )


def complete(source: Postgres) -> None:
    """Have everything that was written so far archived. Raises ``ArchiveBehind``."""
    segment = source.query(FINISH)[-1][0]
    try:
        wait_until(
            partial(is_archived, source, segment),
            timeout=ARCHIVED_SECONDS,
            interval=0.25,
            describe=f"{segment} is not archived",
        )
    except WaitTimedOut as error:
        last, _, failed = state(source)
        raise ArchiveBehind(
            f"PostgreSQL cannot archive what it wrote ({error}; last archived: {last or 'nothing'}, last failed: "
            f"{failed or 'nothing'}); its log says why: `inv logs --service letta-db`"
        ) from error


def is_archived(source: Postgres, segment: str) -> bool:
    """Tell whether a segment, and so every one before it, is in the archive."""
    return state(source)[0] >= segment
