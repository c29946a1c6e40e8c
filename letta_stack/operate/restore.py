"""`inv backup.restore`: beside what is there, compared, and only then in its place."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console, lock, process
from letta_stack.base.progress import Progress
from letta_stack.errors import (
    BackupBroken,
    BackupDiffers,
    CommandFailed,
    LettaStackError,
    RestoreFailed,
)
from letta_stack.operate import backup as backups
from letta_stack.operate import (
    manifest,
    postgres,
    restore_checks,
    scratch,
    secrets_bundle,
    verify,
)
from letta_stack.operate.postgres import identifier, literal
from letta_stack.topology import lifecycle
from letta_stack.topology.backups import RECIPIENTS_VARIABLE
from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from letta_stack.operate.manifest import Manifest
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.store import Backup
    from letta_stack.topology.project import Project

SWAP_ATTEMPTS = 5


def run(
    project: Project,
    backup: Backup,
    *,
    identity: str,
    directory: Path,
    recipients: Sequence[str],
    clear: bool,
    foreign: bool,
    yes: bool,
) -> None:
    """Restore once that is confirmed, while nobody else changes the project; see ``restore``."""
    if not yes:
        lifecycle.confirm(f"replace the data of {project.name} with backup {backup.id}?")
    with lock.held(project.name):
        before = restore(
            project,
            backup,
            identity=Path(identity) if identity else None,
            directory=directory,
            to=[]
            if clear
            else backups.recipients(recipients, project.setting(RECIPIENTS_VARIABLE), directory),
            clear=clear,
            foreign=foreign,
        )
    console.result(f"restored {backup.id}; what was there before is backup {before.id}")


def restore(
    project: Project,
    backup: Backup,
    *,
    identity: Path | None,
    directory: Path,
    to: Sequence[str],
    clear: bool = False,
    foreign: bool = False,
) -> Backup:
    """Put a backup in the place of a running project's database; return the backup of what was there before.

    ``directory``, ``to`` and ``clear`` are for that one, as in ``backup.create``; ``foreign`` takes a backup of another
    project. Everything that can refuse the backup does so before anything changes. Raises ``BackupBroken``,
    ``BackupForeign``, ``BackupNewer``, ``BackupNoRoom``, ``IdentityWrong``, ``RestoreFailed``.
    """
    about = verify.required(backup)
    manifest.check_files(backup.directory, about)
    target = postgres.of(project)
    server = backups.server_container(project)
    current = secrets_bundle.collect(server)
    key = verify.encryption_key(backup, about, identity=identity, key=current.encryption_key)
    manifest.check_seal(backup.directory, key, backup.id)
    new_key = key if key != current.encryption_key else ""
    restore_checks.refuse_foreign(
        project, about, foreign=foreign, new_key=new_key, given=current.environment
    )
    restore_checks.refuse_newer(about, target, server)
    restore_checks.refuse_full(about, target)
    before = backups.create(
        project,
        directory=directory,
        to=to,
        clear=clear,
        # The key stays where it is, so this backup can be restored without a copy of it.
        omit=not new_key,
        reason=f"before the restore of {backup.id}",
    )
    fresh = f"{target.name}_restore_{backup.id.lower()}"
    with Progress(f"restoring {backup.id} beside the present database"):
        load(target, backup, about, fresh)
    replace_database(project, target, server, fresh=fresh, new_key=new_key, before=before)
    return before


def load(target: Postgres, backup: Backup, about: Manifest, fresh: str) -> None:
    """Restore into a new database and compare it; leave nothing if that fails."""
    drop(target, fresh)
    try:
        scratch.restore(target, backup, fresh)
        if about.owner != target.owner:
            adopt = f"REASSIGN OWNED BY {identifier(about.owner)} TO {identifier(target.owner)}"
            target.query(adopt, database=fresh)
        verify.compare(about, target, fresh)
    except BaseException as error:
        drop(target, fresh)
        if isinstance(error, BackupBroken | BackupDiffers):
            raise
        if isinstance(error, CommandFailed):
            raise RestoreFailed(f"{error}; the database that was in use still is") from error
        raise


def drop(target: Postgres, database: str) -> None:
    """Delete a database if it is there."""
    target.query(f"DROP DATABASE IF EXISTS {identifier(database)}", database="postgres")


def replace_database(
    project: Project, target: Postgres, server: str, *, fresh: str, new_key: str, before: Backup
) -> None:
    """Exchange two databases and the key while no server works; undo it if the server does not come back."""
    old = f"{target.name}_before_{before.id.lower()}"
    old_key = secrets_bundle.collect(server).encryption_key if new_key else ""
    try:
        with stopped_servers(project, target):
            swap(target, fresh, old)
            if new_key:
                install_key(server, new_key)
        lifecycle.wait_ready(project)
    except LettaStackError as error:
        undone = "the restored database stays in use"
        with contextlib.suppress(LettaStackError), stopped_servers(project, target):
            swap(target, old, fresh)
            if old_key:
                install_key(server, old_key)
            undone = "the database from before is in use again"
        raise RestoreFailed(
            f"the restore did not end well ({error}); {undone}, and backup {before.id} holds it"
        ) from error
    drop(target, old)


@contextlib.contextmanager
def stopped_servers(project: Project, target: Postgres) -> Iterator[None]:
    """Let the servers end their requests and stop, and start them again, whatever happens in between.

    A server that has the database in its own container goes on until the block is over, and is restarted then.
    """
    states = [state for state in project.runner.states() if state.service == SERVER]
    containers = [state.container for state in states]
    if target.container in containers:
        yield
        process.capture(["docker", "restart", *containers])
        return
    with Progress("waiting for running turns to end"):
        process.capture(["docker", "stop", *containers])
    try:
        yield
    finally:
        # Before the servers: a backup of an older schema is migrated where that is a service of its own.
        for name in one_shots(project):
            process.capture(["docker", "start", "--attach", name])
        process.capture(["docker", "start", *containers])


def one_shots(project: Project) -> list[str]:
    """Return the containers that do their work once before the servers start."""
    names = project.topology.one_shots
    return [state.container for state in project.runner.states() if state.service in names]


def swap(target: Postgres, fresh: str, old: str) -> None:
    """Rename both databases in one transaction, so that there is one of the right name at any moment."""
    name = identifier(target.name)
    sql = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "  # noqa: S608 - quoted
        f"WHERE datname IN ({literal(target.name)}, {literal(fresh)});\n"
        f"BEGIN; ALTER DATABASE {name} RENAME TO {identifier(old)};\n"
        f"ALTER DATABASE {identifier(fresh)} RENAME TO {name}; COMMIT;\n"
    )
    for attempt in range(SWAP_ATTEMPTS):
        try:
            target.query(sql, database="postgres")
        except CommandFailed:
            # Somebody connected in the moment between.
            if attempt == SWAP_ATTEMPTS - 1:
                raise
            time.sleep(0.5)
        else:
            return


def install_key(server: str, key: str) -> None:
    """Replace the encryption key on the server's volume; its next start uses it."""
    directory = f"/{secrets_bundle.KEY_FILE}"
    script = f"umask 077 && cat > {directory}.new && mv {directory}.new {directory} && rm -f {directory}.sha256"
    image = process.capture(["docker", "container", "inspect", "--format", "{{.Image}}", server])
    options = ["--rm", "--interactive", "--network=none", "--pull=never", "--user=0:0"]
    options += [f"--volumes-from={server}", "--entrypoint=sh"]
    process.capture(["docker", "run", *options, image.strip(), "-c", script], stdin=key + "\n")
