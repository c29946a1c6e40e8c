"""Data that were made elsewhere, or by an older letta-stack: `adopt`."""

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
    from letta_stack.operate.adopt import run
    from letta_stack.topology.project import Project

    order = run.Order(
        source=from_,
        database=database,
        key_file=key_file,
        postgres_image=postgres_image,
        dry_run=dry_run,
        yes=yes,
    )
    run.adopt(Project.of(env, project=project, port=port), order)
