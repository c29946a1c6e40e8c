"""A topology on a cluster: `render`, and what the tasks of one host hand on; a cluster for trials: `cluster.up`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context

from letta_stack.cli.task import CA, task

if TYPE_CHECKING:
    from types import ModuleType

    from letta_stack.topology.clustered import Clustered

CONTEXT = "context of kubectl (kubernetes; default: the current one)"
CLUSTER_ENV = "kubernetes or swarm (default: kubernetes)"
NAME = "namespace, or name of the stack (default: letta-stack- and the topology)"


CHOICES = {
    "max_replicas": "how many servers an autoscaler may make (kubernetes; default: no autoscaler)",
    "database": "external; cnpg: a cluster of CloudNativePG; trial: one pod, one volume (kubernetes; default: external)",
    "host": "name under which clients reach the API (kubernetes; default: not published)",
    "ingress_class": "class of the Ingress (kubernetes; default: nginx)",
    "gateway": "namespace/name of a Gateway, for an HTTPRoute in the place of an Ingress (kubernetes)",
    "tls_secret": "Secret with the certificate of the Ingress (kubernetes)",
    "secret": "Secret with the passwords (kubernetes; default: letta-secrets)",
    "storage_class": "storage class of the volumes (kubernetes; default: the cluster's)",
    "encrypted": "encrypt what passes between hosts (swarm)",
}


def chosen(env: str, *, project: str, context: str = "", **given: str | bool) -> Clustered | None:
    """Return the topology of a cluster, None if `--env` is one of one host; ``given`` are the flags of ``CHOICES``."""
    from letta_stack.topology.catalogue import CLUSTERS
    from letta_stack.topology.clustered import Clustered, refuse_others

    if env not in CLUSTERS:
        refuse_others(env, context=context, **given)
        return None
    words = {name: "yes" if value is True else str(value or "") for name, value in given.items()}
    return Clustered.of(env, project=project, context=context, **words)


def on_kubernetes(env: str, *, project: str, context: str) -> Clustered | None:
    """Return the topology of a Kubernetes cluster, None if `--env` is another."""
    from letta_stack.topology.clustered import refuse_others

    if env == "kubernetes":
        return chosen(env, project=project, context=context)
    refuse_others(env, context=context)
    return None


def on_swarm(env: str, *, project: str, context: str = "") -> Clustered | None:
    """Return the topology of a swarm, None if `--env` is another."""
    from letta_stack.topology.clustered import refuse_others

    if env != "swarm":
        return None
    refuse_others(env, context=context)
    return chosen(env, project=project)


def on_cluster(env: str, *, project: str, context: str) -> Clustered | None:
    """Return the topology of a cluster, None if `--env` is of one host."""
    where = on_swarm(env, project=project, context=context)
    return where or on_kubernetes(env, project=project, context=context)


def lifecycle(cluster: Clustered) -> ModuleType:
    """Return what starts and stops the topology of a cluster."""
    from letta_stack.topology import cluster_lifecycle, swarm_lifecycle

    return {"kubernetes": cluster_lifecycle, "swarm": swarm_lifecycle}[cluster.topology.name]


@task(help={"ca": CA})
def up(_: Context, ca: str = "") -> None:
    """Start a one-node Kubernetes cluster for trials, in one container."""
    from letta_stack.topology import trial_cluster

    trial_cluster.up(ca=ca)


@task(help={"volumes": "delete what is in it, too"})
def down(_: Context, volumes: bool = False) -> None:
    """Remove the cluster for trials; keep what is in it."""
    from letta_stack.topology import trial_cluster

    trial_cluster.down(volumes=volumes)


@task(
    help={
        "env": CLUSTER_ENV,
        "project": NAME,
        "out": "directory for the files (default: standard output)",
        "form": "of the directory: kustomize, or helm for a chart (kubernetes; default: kustomize)",
        "replicas": "how many servers (default: 2)",
        **CHOICES,
    }
)
def render(
    _: Context,
    env: str = "kubernetes",
    project: str = "",
    out: str = "",
    form: str = "",
    replicas: str = "",
    max_replicas: str = "",
    database: str = "",
    host: str = "",
    ingress_class: str = "",
    gateway: str = "",
    tls_secret: str = "",
    secret: str = "",
    storage_class: str = "",
    encrypted: bool = False,
) -> None:
    """Write Kubernetes objects or a stack file, made from compose."""
    from letta_stack.topology import clustered

    cluster = clustered.Clustered.of(
        env,
        project=project,
        replicas=replicas,
        max_replicas=max_replicas,
        database=database,
        host=host,
        ingress_class=ingress_class,
        gateway=gateway,
        tls_secret=tls_secret,
        secret=secret,
        storage_class=storage_class,
        encrypted="yes" if encrypted else "",
    )
    clustered.render(cluster, out=out, form=form)
