"""Data that were made elsewhere, or by an older letta-stack: `adopt`, `upgrade`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.task import DRY_RUN, ENV, PORT, PROJECT, task


@task(
    help={
        "from": "container, volume, data directory or postgresql://USER@HOST:PORT/DATABASE to take over; it is only read",
        "env": ENV,
        "project": PROJECT,
        "port": PORT,
        "database": "name of the database there (default: the only one that is a Letta server's)",
        "key_file": "file with the old server's LETTA_ENCRYPTION_KEY (default: that of its container)",
        "postgres_image": "image with pgvector and the PostgreSQL of a data directory (default: what it ran in, else ours)",
        "dry_run": DRY_RUN,
        "yes": "do not ask before the data is replaced",
    }
)
def adopt(
    _: Context,
    from_: str = "",
    env: str = "single",
    project: str = "",
    port: str = "",
    database: str = "",
    key_file: str = "",
    postgres_image: str = "",
    dry_run: bool = False,
    yes: bool = False,
) -> None:
    """Take over the data of upstream's containers, or of any Letta server."""
    from letta_stack.operate.adopt import examine, run
    from letta_stack.topology.project import Project

    order = examine.Order(
        source=from_,
        database=database,
        key_file=key_file,
        postgres_image=postgres_image,
        dry_run=dry_run,
        yes=yes,
    )
    run.adopt(Project.of(env, project=project, port=port), order)


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "postgres_image": "image of the PostgreSQL that the data are of (default: that of the project's container)",
        "dry_run": DRY_RUN,
        "maintenance": "allow a pause for a migration that running replicas would not survive",
        "yes": "do not ask before everything stops",
    }
)
def upgrade(
    _: Context,
    env: str = "single",
    project: str = "",
    postgres_image: str = "",
    dry_run: bool = False,
    maintenance: bool = False,
    yes: bool = False,
) -> None:
    """Bring what an older letta-stack started to this one."""
    from letta_stack.operate import upgrade as upgrading
    from letta_stack.topology.project import Project

    order = upgrading.Order(
        postgres_image=postgres_image, dry_run=dry_run, maintenance=maintenance, yes=yes
    )
    upgrading.upgrade(Project.of(env, project=project), order)
