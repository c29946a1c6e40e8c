"""A running topology over the years: `doctor`, `support-bundle`, `deploy`, `rollback`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.task import ENV, PROJECT, task


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "json": "print JSON",
        "fix": "also do what is safe, and say what was done",
    }
)
def doctor(
    _: Context, env: str = "single", project: str = "", json: bool = False, fix: bool = False
) -> None:
    """Look at everything that usually goes wrong, and say what to do."""
    from letta_stack.operate.doctor import run
    from letta_stack.topology.project import Project

    run.doctor(Project.of(env, project=project), as_data=json, fix=fix)
