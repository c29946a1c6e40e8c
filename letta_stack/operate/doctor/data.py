"""Checks of what is kept: backups, the growth of the database, and how the gateway passes streams."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import STATE
from letta_stack.operate import archive as archives
from letta_stack.operate import place as places
from letta_stack.operate import postgres, store, table
from letta_stack.operate.doctor.model import WARN, Finding, fail, ok, skip, warn
from letta_stack.operate.place import Place
from letta_stack.topology.archive import wanted
from letta_stack.topology.catalogue import DATABASE, GATEWAY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from letta_stack.operate.doctor.model import ClusterSubject, Subject
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.project import Project

TOO_OLD = timedelta(days=2)
DAY = 86400.0
SHORTEST = 3600.0  # seconds between two sizes that a forecast may be made from
KEPT = 400
SOON_DAYS = 30
# Where nginx's own image and the gateway's start script have the configuration.
CONFIGURATION = "cat /tmp/gateway/*.conf /etc/letta-stack/gateway/*.template /etc/nginx/conf.d/*.conf 2>/dev/null; true"


def backups(subject: Subject | ClusterSubject, now: datetime | None = None) -> Finding:
    """Look at the age of the newest backup, and whether it was ever restored."""
    return kept(subject.project, subject.backups, now)


def kept(stack: Project | Clustered, directory: Path, now: datetime | None = None) -> Finding:
    """Look at the backups of a stack that are in its store, or in a directory."""
    now = now or datetime.now(UTC)
    bucket = places.of(stack, "").bucket
    place = Place(directory, bucket)
    with place.every() as found:
        usable = [one for one in found if one.manifest]
        verified = any(one.verified for one in usable)
    make = f"`inv backup.create {stack.flags}`"
    if not usable:
        return warn("backups", f"none in {bucket or directory}", make)
    age = now - usable[-1].created
    seen = f"{len(usable)}, the newest {usable[-1].id} is {age.days} days and {age.seconds // 3600} hours old"
    if age > TOO_OLD:
        return warn("backups", seen, make)
    if not verified:
        return warn(
            "backups",
            f"{seen}; none was ever verified",
            f"`inv backup.verify {stack.flags}`",
        )
    return ok("backups", seen)


def archive(subject: Subject) -> list[Finding]:
    """Look whether PostgreSQL's log reaches the archive, where there is one."""
    if not wanted(subject.project):
        return []
    known = archives.known(subject.project)
    last, _, failed = archives.state(postgres.of(subject.project))
    why = f"`inv logs {subject.project.flags} --service {DATABASE.name}`, docs/runbooks/ArchiveFails.md"
    if failed > last:
        return [fail("archive", f"{failed} cannot be archived", why)]
    if known is None:
        return [warn("archive", "the first base backup is not done", why)]
    return [ok("archive", f"any moment since {known.since:%Y-%m-%d %H:%M:%S} UTC")]


def interrupted(subject: Subject | ClusterSubject) -> Finding:
    """Look for what a killed command left among the backups."""
    left = store.leftovers(subject.backups)
    if not left:
        return ok("unfinished backups", "none")

    def repair() -> str:
        for path in left:
            store.remove(path)
        return f"deleted {len(left)} unfinished backups"

    fix = "`inv doctor --fix` or `inv backup.prune` deletes them"
    seen = f"{len(left)} in {subject.backups}"
    return Finding("unfinished backups", WARN, seen, fix, repair)


def growth(subject: Subject | ClusterSubject, facts_bytes: int, free: int) -> Finding:
    """Remember the size of the database, and say when its disk will be full at this pace."""
    path = STATE / subject.project.name / "sizes.json"
    sizes = remember(path, facts_bytes)
    days = forecast(sizes, free)
    seen = f"database {table.size(facts_bytes)}"
    if days is None:
        return ok("growth", f"{seen}; too few looks, or it does not grow")
    seen += f"; full in {days:.0f} days at the pace since {datetime.fromtimestamp(sizes[0][0], UTC):%Y-%m-%d}"
    if days < SOON_DAYS:
        return warn("growth", seen, "see docs/operating.md, 'What grows'")
    return ok("growth", seen)


def reserve(free: int, kept: int) -> Finding:
    """Compare what is free on the database's disk with what the server keeps free, both in bytes."""
    seen = f"{table.size(free)} free on the database's disk, reserve {table.size(kept)}"
    fix = "delete agents, enlarge the disk, or see docs/operating.md, 'The disk is full'"
    if free < kept:
        return fail("database disk", f"{seen}: requests that store something are refused", fix)
    return warn("database disk", seen, fix) if free < 2 * kept else ok("database disk", seen)


def remember(path: Path, size: int) -> list[tuple[float, int]]:
    """Append a size to the file of a project and return all of them, the oldest first."""
    try:
        sizes = [
            (float(moment), int(one))
            for moment, one in json.loads(path.read_text(encoding="ascii"))
        ]
    except (OSError, ValueError, TypeError):
        sizes = []
    sizes = [*sizes[-KEPT:], (time.time(), size)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sizes), encoding="ascii")
    return sizes


def forecast(sizes: Sequence[tuple[float, int]], free: int) -> float | None:
    """Return in how many days ``free`` bytes are used up, None if that cannot be said."""
    (since, before), (until, now) = sizes[0], sizes[-1]
    if until - since < SHORTEST or now <= before:
        return None
    return free / ((now - before) / (until - since)) / DAY


def gateway(subject: Subject) -> Finding:
    """Look whether streams pass the gateway unbuffered."""
    container = subject.running(GATEWAY.name)
    if not container:
        return skip("gateway", "not part of this topology, or not running")
    text = process.probe(["docker", "exec", container, "sh", "-c", CONFIGURATION]).stdout
    if "proxy_buffering off" in " ".join(text.split()):
        return ok("gateway", "passes streams as they come")
    return fail(
        "gateway",
        "buffers: streams arrive at their end",
        "proxy_buffering off in its configuration",
    )
