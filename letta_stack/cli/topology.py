"""One topology as an operator handles it: `up`, `down` and what is between."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.cluster import CHOICES, CONTEXT, chosen
from letta_stack.cli.cluster import lifecycle as cluster_lifecycle
from letta_stack.cli.task import (
    CA,
    ENV,
    IMAGES,
    LETTA_SOURCE,
    LLM,
    LLM_ENDPOINT,
    OTELCOL,
    PG_PORT,
    PORT,
    PROJECT,
    REDIS_PORT,
    leave,
    task,
)


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "port": PORT,
        "pg_port": PG_PORT,
        "redis_port": REDIS_PORT,
        "dashboard_port": "port of the dashboards on this machine (observability; default: 3000)",
        "images": IMAGES,
        "otelcol": OTELCOL,
        "letta_source": LETTA_SOURCE,
        "llm": LLM,
        "llm_endpoint": LLM_ENDPOINT,
        "ca": CA,
        "debug_port": "port of this machine for a debugger (hot; debugpy's usual one is 5678)",
        "replicas": "how many servers (prod, observability; default: 1; kubernetes, swarm: 2)",
        "public": "let other machines reach the API (default: only this one)",
        "context": CONTEXT,
        **CHOICES,
        "database": f"ha: three members with failover (prod, observability); {CHOICES['database']}",
        "yes": "use a context that looks like production (kubernetes)",
    }
)
def up(
    _: Context,
    env: str = "single",
    project: str = "",
    port: str = "",
    pg_port: str = "",
    redis_port: str = "",
    dashboard_port: str = "",
    images: str = "auto",
    otelcol: str = "auto",
    letta_source: str = "",
    llm: str = "",
    llm_endpoint: str = "",
    ca: str = "",
    debug_port: str = "",
    replicas: str = "",
    public: bool = False,
    context: str = "",
    max_replicas: str = "",
    database: str = "",
    host: str = "",
    ingress_class: str = "",
    gateway: str = "",
    tls_secret: str = "",
    secret: str = "",
    storage_class: str = "",
    encrypted: bool = False,
    yes: bool = False,
) -> None:
    """Build what is missing, start a topology, wait until it answers."""
    from letta_stack.image import sources as image_sources
    from letta_stack.topology import clustered, language_model, lifecycle, source_tree
    from letta_stack.topology.catalogue import CLUSTERS
    from letta_stack.topology.project import Project

    sources = image_sources.Sources.of(
        images=images, otelcol=otelcol, letta_source=letta_source, ca=ca
    )
    choices: dict[str, str | bool] = {
        "max_replicas": max_replicas,
        "host": host,
        "ingress_class": ingress_class,
        "gateway": gateway,
        "tls_secret": tls_secret,
        "secret": secret,
        "storage_class": storage_class,
        "encrypted": encrypted,
    }
    if env in CLUSTERS:
        choices["database"] = database
    if cluster := chosen(env, project=project, context=context, **choices):
        clustered.refuse_others(
            env,
            port=port,
            pg_port=pg_port,
            redis_port=redis_port,
            dashboard_port=dashboard_port,
            debug_port=debug_port,
            llm=llm,
            llm_endpoint=llm_endpoint,
            public=public,
        )
        cluster = clustered.with_choice(cluster, replicas=replicas)
        cluster_lifecycle(cluster).up(cluster, sources, yes=yes)
        return
    ports = {"port": port, "pg_port": pg_port, "redis_port": redis_port}
    ports["dashboard_port"] = dashboard_port
    wanted = Project.of(
        env, project=project, replicas=replicas, public=public, database=database, **ports
    )
    wanted = language_model.choose(wanted, kind=llm, endpoint=llm_endpoint)
    lifecycle.up(*source_tree.mount(wanted, sources, debug_port=debug_port))


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "volumes": "delete the data too",
        "yes": "do not ask before deleting data",
        "context": CONTEXT,
    }
)
def down(
    _: Context,
    env: str = "single",
    project: str = "",
    volumes: bool = False,
    yes: bool = False,
    context: str = "",
) -> None:
    """Stop and remove a topology; keep its data."""
    from letta_stack.topology import lifecycle
    from letta_stack.topology.project import Project

    if cluster := chosen(env, project=project, context=context):
        cluster_lifecycle(cluster).down(cluster, volumes=volumes, yes=yes)
        return
    lifecycle.down(Project.of(env, project=project), volumes=volumes, yes=yes)


@task(help={"env": ENV, "project": PROJECT, "context": CONTEXT})
def ps(_: Context, env: str = "single", project: str = "", context: str = "") -> None:
    """Show the containers of a topology."""
    from letta_stack.topology import lifecycle
    from letta_stack.topology.project import Project

    if cluster := chosen(env, project=project, context=context):
        leave(cluster_lifecycle(cluster).ps(cluster))
        return
    leave(lifecycle.ps(Project.of(env, project=project)))


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "service": "only this service (default: all)",
        "tail": "lines per service to begin with (default: 100)",
        "follow": "go on until Ctrl-C",
        "context": CONTEXT,
    }
)
def logs(
    _: Context,
    env: str = "single",
    project: str = "",
    service: str = "",
    tail: str = "100",
    follow: bool = False,
    context: str = "",
) -> None:
    """Show the logs of a topology."""
    from letta_stack.base import flags
    from letta_stack.topology import lifecycle
    from letta_stack.topology.project import Project

    lines = flags.count("--tail", tail)
    if cluster := chosen(env, project=project, context=context):
        leave(cluster_lifecycle(cluster).logs(cluster, service=service, tail=lines, follow=follow))
        return
    leave(
        lifecycle.logs(Project.of(env, project=project), service=service, tail=lines, follow=follow)
    )


@task(
    help={
        "env": ENV,
        "project": PROJECT,
        "service": "only this service (default: all)",
        "context": CONTEXT,
    }
)
def restart(
    _: Context, env: str = "single", project: str = "", service: str = "", context: str = ""
) -> None:
    """Restart the services of a topology and wait until they answer."""
    from letta_stack.topology import lifecycle
    from letta_stack.topology.project import Project

    if cluster := chosen(env, project=project, context=context):
        cluster_lifecycle(cluster).restart(cluster, service=service)
        return
    lifecycle.restart(Project.of(env, project=project), service=service)


@task(
    name="exec",
    help={
        "env": ENV,
        "project": PROJECT,
        "service": "where (default: the server)",
        "context": CONTEXT,
    },
)
def execute(
    _: Context, env: str = "single", project: str = "", service: str = "", context: str = ""
) -> None:
    """Run the command after `--` inside a service."""
    import sys

    from letta_stack.base import flags
    from letta_stack.topology import lifecycle
    from letta_stack.topology.project import Project

    command = flags.command(sys.argv)
    if cluster := chosen(env, project=project, context=context):
        leave(cluster_lifecycle(cluster).execute(cluster, service=service, command=command))
        return
    leave(lifecycle.execute(Project.of(env, project=project), service=service, command=command))


@task(help={"env": ENV, "project": PROJECT, "port": PORT})
def config(_: Context, env: str = "single", project: str = "", port: str = "") -> None:
    """Show what compose makes of a topology's files."""
    from letta_stack.topology import lifecycle
    from letta_stack.topology.project import Project

    leave(lifecycle.config(Project.of(env, project=project, port=port)))


@task(name="env", help={"env": "topology (default: services)", "project": PROJECT})
def exports(_: Context, env: str = "services", project: str = "") -> None:
    """Show the variables that lead to the services, for eval."""
    from letta_stack.base import console
    from letta_stack.topology import exports as topology_exports
    from letta_stack.topology.project import Project

    console.result(topology_exports.lines(Project.of(env, project=project)))
