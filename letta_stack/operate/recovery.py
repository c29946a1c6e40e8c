"""`inv backup.restore --to-time`: the archive is recovered beside the stack, and what comes out is restored as any backup is."""

from __future__ import annotations

import contextlib
import json
import secrets
from typing import TYPE_CHECKING

from letta_stack.base import console, lock, process
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.errors import BackupForeign, MomentOutOfRange, RestoreFailed
from letta_stack.operate import archive, backup, postgres, restore, restore_checks, samples, scratch
from letta_stack.operate.holders.one_host import OneHost
from letta_stack.operate.postgres import OWNER, Postgres
from letta_stack.topology import archive_store, lifecycle
from letta_stack.topology.backups import RECIPIENTS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from letta_stack.operate.store import Backup
    from letta_stack.topology.project import Project

RECOVERY_SECONDS = 6 * 3600.0  # a large database and a week of its log
MARK = "letta-stack.recovery"
MOUNTED = ("/var/lib/pgbackrest", "/etc/pgbackrest/conf.d/key.conf", archive_store.CA_PATH)
COPIES = 2  # the recovered cluster, and what is restored from it beside the present database
# Nobody reads from it before it has come to the moment; what it holds is lost with it, so nothing waits for a disk.
START = f"""
pgbackrest {archive.STANZA} --type=time --target="$1" --target-action=promote restore
exec postgres -c listen_addresses= -c unix_socket_directories=/tmp -c archive_mode=off -c hot_standby=off -c fsync=off \
    -c full_page_writes=off -c synchronous_commit=off -c jit=off
"""
TOO_SHORT = "recovery ended before configured recovery target was reached"


def run(
    project: Project,
    to_time: str,
    *,
    directory: Path,
    recipients: Sequence[str],
    clear: bool,
    yes: bool,
) -> None:
    """Bring the database of a running project back to a moment, once that is confirmed; see ``restore.restore``.

    Raises ``BadValue``, ``ArchiveOff``, ``MomentOutOfRange``, ``ArchiveBehind``, ``RestoreFailed``.
    """
    moment = archive.moment(to_time)
    archive.check(project, moment, postgres.of(project))
    if not yes:
        lifecycle.confirm(f"bring the data of {project.name} back to {moment.isoformat(' ')}?")
    with lock.held(project.name):
        to = (
            []
            if clear
            else backup.recipients(recipients, project.setting(RECIPIENTS_VARIABLE), directory)
        )
        found = extract(project, moment, directory=directory, to=to, clear=clear)
        before = restore.restore(
            project, found, identity=None, directory=directory, to=to, clear=clear
        )
    console.result(
        f"{project.name} is as it was at {moment.isoformat(' ')}, which is backup {found.id}; what was there before is "
        f"backup {before.id}"
    )


def extract(
    project: Project, moment: datetime, *, directory: Path, to: Sequence[str], clear: bool
) -> Backup:
    """Make a backup of what the database was at a moment; nothing that runs is changed."""
    source = postgres.of(project)
    size = int(source.value("SELECT pg_database_size(current_database())"))
    restore_checks.refuse_bytes(COPIES * size, source)
    archive.complete(source)
    holder = OneHost(project)
    held = holder.secrets()
    with recovered(project, moment, source) as past:
        sealed = samples.encrypted(past, past.name)
        image = process.capture(
            ["docker", "container", "inspect", "--format", "{{.Image}}", holder.server()]
        ).strip()
        if sealed and not samples.readable(samples.python_of(image), sealed, held.encryption_key):
            raise BackupForeign(
                f"what was encrypted at {moment.isoformat(' ')} cannot be read with the present encryption key; take a "
                "backup of that time, which has its own: `inv backup.restore --backup NAME --identity FILE`"
            )
        about = {
            "reason": f"the state of {moment.isoformat(' ')}",
            **holder.origin(source),
        }
        return backup.write(past, held, about, directory=directory, to=to, clear=clear)


@contextlib.contextmanager
def recovered(project: Project, moment: datetime, source: Postgres) -> Iterator[Postgres]:
    """Run a PostgreSQL with the data of a moment for the block, in a container that reaches the archive and nobody reaches."""
    keeper = archive.container(project)
    (facts,) = json.loads(process.capture(["docker", "container", "inspect", keeper]))
    mounts = {
        one["Destination"]: one["Name"] if one["Type"] == "volume" else one["Source"]
        for one in facts["Mounts"]
    }
    name = f"{project.name}-recovery-{secrets.token_hex(4)}"
    # The way to a store is that of the container that brings base backups there.
    lonely = facts["HostConfig"]["NetworkMode"] == "none"
    network = "none" if lonely else f"container:{keeper}"
    options = ["--detach", f"--network={network}", "--pull=never", "--user=postgres"]
    options += [f"--name={name}"]
    options += [f"--volume={mounts[one]}:{one}:ro" for one in MOUNTED if one in mounts]
    options += ["--env=PGHOST=/tmp", "--entrypoint=sh", "--no-healthcheck", f"--label={MARK}"]
    target = moment.isoformat(" ")
    remove_earlier(project)
    try:
        with Progress(f"recovering the database as it was at {target}"):
            process.capture(
                ["docker", "run", *options, facts["Image"], "-euc", START, "sh", target]
            )
            past = Postgres(name, source.superuser, source.name, "")
            wait_until(
                lambda: answers(past, moment),
                timeout=RECOVERY_SECONDS,
                interval=0.25,
                describe=lambda: f"the recovery to {target} does not end: {scratch.log(name)}",
            )
        yield Postgres(name, source.superuser, source.name, past.value(OWNER))
    finally:
        process.probe(["docker", "rm", "--force", "--volumes", name])


def remove_earlier(project: Project) -> None:
    """Delete what a killed recovery left: its container holds a copy of everything."""
    filters = [f"--filter=label={MARK}", f"--filter=name=^{project.name}-recovery-"]
    left = process.capture(["docker", "ps", "--all", "--quiet", *filters]).split()
    if left:
        process.probe(["docker", "rm", "--force", "--volumes", *left])


def answers(past: Postgres, moment: datetime) -> bool:
    """Tell whether a recovery is done. Raises ``MomentOutOfRange``, ``RestoreFailed`` if it gave up."""
    if process.probe(past.argv("pg_isready", "--quiet")).ok:
        return True
    state = ["docker", "container", "inspect", "--format", "{{.State.Running}}", past.container]
    if process.probe(state).stdout.strip() == "true":
        return False
    written = process.probe(["docker", "logs", "--tail=20", past.container])
    said = (written.stdout + written.stderr).strip().splitlines()
    if any(TOO_SHORT in line for line in said):
        raise MomentOutOfRange(
            f"the archive has a gap before {moment.isoformat(' ')}, since archiving failed or was off for a while; choose an "
            "earlier time, or a backup of `inv backup.list`"
        )
    reason = next((line for line in reversed(said) if "ERROR" in line or "FATAL" in line), "")
    raise RestoreFailed(
        f"the archive cannot be recovered ({reason or ' '.join(said[-1:])}); nothing was changed"
    )
