"""A running topology over the years: `doctor`, `support-bundle`, `deploy`, `rollback`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.cluster import CONTEXT, on_kubernetes, on_swarm
from letta_stack.cli.task import DRY_RUN, ENV, PROJECT, task

YES = "the context is meant, though it looks like production (kubernetes)"


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "json": "print JSON",
        "fix": "also do what is safe, and say what was done",
        "context": CONTEXT,
    }
)
def doctor(
    _: Context,
    env: str = "single",
    project: str = "",
    json: bool = False,
    fix: bool = False,
    context: str = "",
) -> None:
    """Look at everything that usually goes wrong, and say what to do."""
    from letta_stack.operate.doctor import cluster as in_cluster
    from letta_stack.operate.doctor import run
    from letta_stack.topology.clustered import refuse_others
    from letta_stack.topology.project import Project

    if cluster := on_swarm(env, project=project, context=context):
        refuse_others(env, fix=fix)
        run.doctor_of_swarm(cluster, as_data=json)
        return
    if cluster := on_kubernetes(env, project=project, context=context):
        in_cluster.doctor(cluster, as_data=json, fix=fix)
        return
    run.doctor(Project.of(env, project=project), as_data=json, fix=fix)


@task(
    help={
        "env": "topology with replicas (default: prod)",
        "project": PROJECT,
        "image": "what to deploy (default: what `inv up` would start)",
        "version": "the same as a version of letta-stack/letta, for instance 0.16.8",
        "dry_run": DRY_RUN,
        "maintenance": "allow a pause for a migration that running replicas would not survive",
        "no_backup": "do not back up first",
        "context": CONTEXT,
        "yes": YES,
    }
)
def deploy(
    _: Context,
    env: str = "prod",
    project: str = "",
    image: str = "",
    version: str = "",
    dry_run: bool = False,
    maintenance: bool = False,
    no_backup: bool = False,
    context: str = "",
    yes: bool = False,
) -> None:
    """Replace the servers of a running topology without a failed request."""
    from letta_stack.operate import deploy as deployment
    from letta_stack.operate import rollout, swarm_rollout
    from letta_stack.topology.project import Project

    order = deployment.Order(
        image=image, version=version, dry_run=dry_run, maintenance=maintenance, backup=not no_backup
    )
    if cluster := on_swarm(env, project=project, context=context):
        swarm_rollout.deploy(cluster, order)
        return
    if cluster := on_kubernetes(env, project=project, context=context):
        rollout.deploy(cluster, order, yes=yes)
        return
    deployment.deploy(Project.of(env, project=project), order)


@task(
    help={
        "env": "topology with replicas (default: prod)",
        "project": PROJECT,
        "dry_run": DRY_RUN,
        "context": CONTEXT,
        "yes": YES,
    }
)
def rollback(
    _: Context,
    env: str = "prod",
    project: str = "",
    dry_run: bool = False,
    context: str = "",
    yes: bool = False,
) -> None:
    """Deploy the image that ran before the present one."""
    from letta_stack.operate import deploy as deployment
    from letta_stack.operate import rollout, swarm_rollout
    from letta_stack.topology.project import Project

    if cluster := on_swarm(env, project=project, context=context):
        swarm_rollout.rollback(cluster, dry_run=dry_run)
        return
    if cluster := on_kubernetes(env, project=project, context=context):
        rollout.rollback(cluster, dry_run=dry_run, yes=yes)
        return
    deployment.rollback(Project.of(env, project=project), dry_run=dry_run)


@task(
    name="support-bundle",
    help={
        "env": ENV,
        "project": PROJECT,
        "output": "file to write (default: letta-stack-support-<project>-<time>.tar.gz here)",
        "context": CONTEXT,
    },
)
def support_bundle(
    _: Context, env: str = "single", project: str = "", output: str = "", context: str = ""
) -> None:
    """Collect versions, configuration, health and logs without secrets."""
    from letta_stack.base import console
    from letta_stack.operate import support, support_cluster
    from letta_stack.topology.project import Project

    if cluster := on_kubernetes(env, project=project, context=context):
        files = support_cluster.collect(cluster)
        console.result(str(support.pack(cluster.name, files, output)))
        return
    console.result(str(support.write(Project.of(env, project=project), output)))


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "days": "keep what is younger (default: 30)",
        "dry_run": DRY_RUN,
    }
)
def trim(
    _: Context, env: str = "single", project: str = "", days: str = "30", dry_run: bool = False
) -> None:
    """Delete old provider traces, which the server itself keeps for ever."""
    from letta_stack.base import console, flags, lock
    from letta_stack.operate import trim as trimming
    from letta_stack.topology.project import Project

    stack = Project.of(env, project=project)
    age = flags.count("--days", days)
    with lock.held(stack.name):
        count = trimming.trim(stack, days=age, dry_run=dry_run)
    console.result(f"provider_traces: {count} rows {'would go' if dry_run else 'are gone'}")
