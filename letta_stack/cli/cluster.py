"""A topology on a cluster: `render`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.task import task

CLUSTER_ENV = "kubernetes or swarm (default: kubernetes)"
NAME = "namespace, or name of the stack (default: letta-stack- and the topology)"


@task(
    help={
        "env": CLUSTER_ENV,
        "project": NAME,
        "out": "directory for the files (default: standard output)",
        "replicas": "how many servers (default: 2)",
        "max_replicas": "how many servers an autoscaler may make (kubernetes; default: no autoscaler)",
        "database": "external, or trial: one pod with one volume (kubernetes; default: external)",
        "host": "name under which clients reach the API (kubernetes; default: not published)",
        "ingress_class": "class of the Ingress (kubernetes; default: nginx)",
        "gateway": "namespace/name of a Gateway, for an HTTPRoute in the place of an Ingress (kubernetes)",
        "tls_secret": "Secret with the certificate of the Ingress (kubernetes)",
        "secret": "Secret with the passwords (kubernetes; default: letta-secrets)",
        "storage_class": "storage class of the volumes (kubernetes; default: the cluster's)",
        "encrypted": "encrypt what passes between hosts (swarm)",
    }
)
def render(
    _: Context,
    env: str = "kubernetes",
    project: str = "",
    out: str = "",
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
    clustered.render(cluster, out=out)
