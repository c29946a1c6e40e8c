"""Pushes a layout in a process of its own, which a test can interrupt: HOST REPOSITORY VERSION LAYOUT."""

from __future__ import annotations

from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context  # noqa: TC002 - Invoke looks at it
from invoke.program import Program

from letta_stack.cli.task import task
from tests.release import support


@task
def push(_: Context, host: str, repository: str, version: str, layout: str) -> None:
    """Push as `inv build --push` does after its build."""
    support.push(host, repository, version, Path(layout))


if __name__ == "__main__":
    Program(namespace=Collection(push)).run()
