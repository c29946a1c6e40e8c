"""Passwords and keys of a topology that keeps them as files."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from letta_stack.cli.task import PROJECT, task

ENV = "topology with secret files (default: prod)"


@task(name="list", help={"env": ENV, "project": PROJECT})
def list_(_: Context, env: str = "prod", project: str = "") -> None:
    """Show which secrets there are and since when, not their values."""
    from letta_stack.topology import secret_files
    from letta_stack.topology.project import Project

    secret_files.show_all(Project.of(env, project=project))


@task(help={"name": "which secret, see `inv secrets.list`", "env": ENV, "project": PROJECT})
def show(_: Context, name: str, env: str = "prod", project: str = "") -> None:
    """Print one secret, for a client or another program."""
    from letta_stack.topology import secret_files
    from letta_stack.topology.project import Project

    secret_files.show(Project.of(env, project=project), name)


@task(help={"name": "which secret, see `inv secrets.list`", "env": ENV, "project": PROJECT})
def rotate(_: Context, name: str, env: str = "prod", project: str = "") -> None:
    """Replace a secret of a running topology, or finish doing so."""
    from letta_stack.topology import rotation
    from letta_stack.topology.project import Project

    rotation.rotate(Project.of(env, project=project), name)


secrets = Collection("secrets", list_, show, rotate)
