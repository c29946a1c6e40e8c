"""Backups of a topology: the collection `backup`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.cluster import CONTEXT, on_cluster
from letta_stack.cli.task import DRY_RUN, ENV, PROJECT, task

DIR = "directory or s3://bucket/prefix with the backups (default: $LETTA_STACK_BACKUP_TO, else .state/<project>/backups)"
RECIPIENT = "age or SSH public key that may decrypt the secrets (repeatable; default: $LETTA_STACK_BACKUP_RECIPIENTS)"
IDENTITY = "file with the private key that opens the secrets"
CLEAR = "write the secrets unencrypted"
BACKUP = "name or path of the backup (default: latest)"
COMMON = {"env": ENV, "project": PROJECT, "dir": DIR, "context": CONTEXT}


@task(
    help={**COMMON, "recipient": RECIPIENT, "clear_secrets": CLEAR},
    iterable=["recipient"],
)
def create(
    _: Context,
    env: str = "single",
    project: str = "",
    dir: str = "",
    recipient: list[str] | None = None,
    clear_secrets: bool = False,
    context: str = "",
) -> None:
    """Back up database and secrets of a running topology."""
    from letta_stack.base import console, lock
    from letta_stack.operate import backup
    from letta_stack.operate import place as places
    from letta_stack.topology import backups
    from letta_stack.topology.project import Project

    stack = on_cluster(env, project=project, context=context) or Project.of(env, project=project)
    place = places.of(stack, dir)
    setting = stack.setting(backups.RECIPIENTS_VARIABLE)
    with lock.held(stack.name):
        to = [] if clear_secrets else backup.recipients(recipient or [], setting, place.directory)
        made = backup.create(
            stack, directory=place.directory, to=to, clear=clear_secrets, bucket=place.bucket
        )
    console.result(place.written(made))


@task(name="list", help={**COMMON, "json": "print JSON"})
def list_(
    _: Context,
    env: str = "single",
    project: str = "",
    dir: str = "",
    json: bool = False,
    context: str = "",
) -> None:
    """Show the backups of a topology, the oldest first."""
    from letta_stack.base import console
    from letta_stack.operate import archive, listing
    from letta_stack.operate import place as places
    from letta_stack.topology.project import Project

    stack = on_cluster(env, project=project, context=context) or Project.of(env, project=project)
    with places.of(stack, dir).every() as found:
        console.result(listing.as_json(found) if json else listing.as_text(found))
    if not json and isinstance(stack, Project) and (recoverable := archive.as_text(stack)):
        console.result(recoverable)


@task(help={**COMMON, "backup": BACKUP, "identity": IDENTITY})
def verify(
    _: Context,
    env: str = "single",
    project: str = "",
    backup: str = "latest",
    dir: str = "",
    identity: str = "",
    context: str = "",
) -> None:
    """Restore a backup into a temporary database and compare."""
    from letta_stack.base import console
    from letta_stack.operate import place as places
    from letta_stack.operate import verify as verification
    from letta_stack.topology.project import Project

    stack = on_cluster(env, project=project, context=context) or Project.of(env, project=project)
    with places.of(stack, dir).find(backup) as found:
        console.result(verification.verify_for(stack, found, identity=identity))


@task(
    help={
        **COMMON,
        "backup": BACKUP,
        "identity": IDENTITY,
        "recipient": "as in backup.create, for the backup of what is there now",
        "clear_secrets": CLEAR,
        "foreign": "take a backup of another project",
        "to_time": "bring back this moment instead, such as '2026-11-27 19:00:00+00' (with LETTA_STACK_PITR=on)",
        "yes": "do not ask before the data is replaced",
    },
    iterable=["recipient"],
)
def restore(
    _: Context,
    env: str = "single",
    project: str = "",
    backup: str = "latest",
    dir: str = "",
    identity: str = "",
    recipient: list[str] | None = None,
    clear_secrets: bool = False,
    foreign: bool = False,
    to_time: str = "",
    yes: bool = False,
    context: str = "",
) -> None:
    """Put a backup, or a moment of the archive, in the place of the data of a running topology."""
    from letta_stack.errors import BadValue
    from letta_stack.operate import place as places
    from letta_stack.operate import recovery
    from letta_stack.operate import restore as restoration
    from letta_stack.topology.project import Project

    stack = on_cluster(env, project=project, context=context) or Project.of(env, project=project)
    place = places.of(stack, dir)
    if to_time:
        if not isinstance(stack, Project):
            raise BadValue(
                f"--to-time: --env {env} has no archive; take a backup: `inv backup.list`"
            )
        if backup != "latest" or identity or foreign:
            raise BadValue(
                "--to-time is of the archive; leave --backup, --identity and --foreign out"
            )
        recovery.run(
            stack,
            to_time,
            directory=place.directory,
            recipients=recipient or [],
            clear=clear_secrets,
            yes=yes,
        )
        return
    with place.find(backup) as found:
        restoration.run(
            stack,
            found,
            identity=identity,
            directory=place.directory,
            recipients=recipient or [],
            clear=clear_secrets,
            foreign=foreign,
            yes=yes,
        )


@task(
    help={
        **COMMON,
        "keep": "keep this many of the newest",
        "days": "keep what is younger",
        "dry_run": DRY_RUN,
    }
)
def prune(
    _: Context,
    env: str = "single",
    project: str = "",
    dir: str = "",
    keep: str = "7",
    days: str = "7",
    dry_run: bool = False,
    context: str = "",
) -> None:
    """Delete old backups; never the newest, nor the newest verified."""
    from letta_stack.base import flags, lock
    from letta_stack.operate import place as places
    from letta_stack.topology.project import Project

    stack = on_cluster(env, project=project, context=context) or Project.of(env, project=project)
    numbers = {"keep": flags.count("--keep", keep), "days": flags.count("--days", days)}
    with lock.held(stack.name):
        places.of(stack, dir).prune(**numbers, dry_run=dry_run)
