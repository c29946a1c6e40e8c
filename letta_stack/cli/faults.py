"""Break a running staging stack on purpose: `faults`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.task import DRY_RUN, PROJECT, task


@task(
    iterable=["only"],
    help={
        "env": "topology of the staging stack (default: prod)",
        "project": PROJECT,
        "yes": "really do it",
        "list": "show every fault and end",
        "only": "name of a fault (repeatable; default: all)",
        "dry_run": DRY_RUN,
        "json": "print JSON",
        "seed": "number that repeats the choices of an earlier run (default: today's date)",
    },
)
def faults(
    _: Context,
    only: list[str],
    env: str = "prod",
    project: str = "",
    yes: bool = False,
    list: bool = False,
    dry_run: bool = False,
    json: bool = False,
    seed: str = "",
) -> None:
    """Break a staging stack on purpose; nothing may be lost."""
    from letta_stack.base import console, flags
    from letta_stack.operate.faults import catalogue, report, run
    from letta_stack.topology.project import Project

    if list:
        console.result(report.catalogue(catalogue.choose(only)))
        return
    order = run.Order(
        only=only,
        seed=flags.count("--seed", seed) if seed else None,
        dry_run=dry_run,
        yes=yes,
        as_json=json,
    )
    run.faults(Project.of(env, project=project), order)
