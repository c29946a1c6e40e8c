"""The container engine: `engine`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.task import task


@task(help={"check": "change nothing, only say what is there"})
def engine(_: Context, check: bool = False) -> None:
    """Make sure that a usable container engine answers."""
    from letta_stack.engine import install

    install.ensure(check=check)
