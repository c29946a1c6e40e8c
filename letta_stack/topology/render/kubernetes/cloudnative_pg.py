"""The database as a cluster of CloudNativePG: what its operator makes PostgreSQL of, from the same service of compose."""

from __future__ import annotations

import itertools
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from letta_stack.topology.catalogue import DATABASE
from letta_stack.topology.render.kubernetes.network import policy
from letta_stack.topology.render.kubernetes.objects import Object, labels, make
from letta_stack.topology.render.kubernetes.pods import resources
from letta_stack.topology.render.kubernetes.storage import storage
from letta_stack.topology.render.values import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from letta_stack.topology.render.files import Mounted
    from letta_stack.topology.render.kubernetes.options import Options

VERSION = "postgresql.cnpg.io/v1"
KIND = "Cluster"
INSTANCES = 3
"""One may be lost while another one is moved."""
POD_LABEL = "cnpg.io/cluster"
OPERATOR = {"app.kubernetes.io/name": "cloudnative-pg"}
POSTGRES, STATUS = 5432, 8000
NOTE = (
    f"services.{DATABASE.name}: the operator makes its pods; image, health check, stop signal and mounts are its own, and without "
    "disk.sql the server does not know how much room is left"
)
PREPARES = PurePosixPath("/docker-entrypoint-initdb.d")


def objects(
    service: Mapping[str, Any],
    files: Mapping[tuple[str, str], Mounted],
    options: Options,
    users: Iterable[str],
) -> list[Object]:
    """Return the cluster, what its database is prepared with, and who may talk to it.

    Args:
        service: the database of the compose model.
        files: what ``files.read`` found for it.
        options: the operator's choices.
        users: the services that reach it.

    """
    prepares = [
        mounted
        for (name, target), mounted in sorted(files.items())
        if name == DATABASE.name
        and PurePosixPath(target).parent == PREPARES
        and not _is_for_psql(mounted)
    ]
    own = {"matchLabels": {POD_LABEL: DATABASE.name}}
    found = storage(DATABASE.name, service, files, options)
    configs = [
        one
        for one in found.configs
        if any(one["data"] == dict(mounted.content) for mounted in prepares)
    ]
    return [
        *configs,
        make(
            VERSION,
            KIND,
            options.namespace,
            DATABASE.name,
            service=DATABASE.name,
            spec=_spec(service, configs, found.claims, options),
        ),
        *_policies(own, options, users),
    ]


def _is_for_psql(mounted: Mounted) -> bool:
    """Say whether a file has commands that are no SQL."""
    return any(
        line.startswith("\\") for text in mounted.content.values() for line in text.splitlines()
    )


def _spec(
    service: Mapping[str, Any],
    configs: Iterable[Object],
    claims: Mapping[str, Object],
    options: Options,
) -> Object:
    (claim,) = claims.values()
    variables = environment(service)
    words = service.get("command") or []
    # `-c name=value` of PostgreSQL's command line.
    given = [word for before, word in itertools.pairwise(words) if before == "-c"]
    size = {"size": claim["resources"]["requests"]["storage"]}
    if options.storage_class:
        size["storageClass"] = options.storage_class
    return {
        "instances": INSTANCES,
        "imageName": options.database_image,
        "bootstrap": {
            "initdb": {
                "database": variables["POSTGRES_DB"],
                "owner": variables["POSTGRES_USER"],
                "postInitApplicationSQLRefs": {
                    "configMapRefs": [
                        {"name": one["metadata"]["name"], "key": key}
                        for one in configs
                        for key in one["data"]
                    ]
                },
            }
        },
        "postgresql": {
            "parameters": dict(word.split("=", 1) for word in given),
            # What is committed is on two hosts, so that one may be lost.
            "synchronous": {"method": "any", "number": 1},
        },
        "resources": resources(service),
        "storage": size,
    }


def _policies(own: Object, options: Options, users: Iterable[str]) -> list[Object]:
    """Let its users reach it, its instances each other, and the operator, wherever it is, their state."""
    members = [{"podSelector": {"matchLabels": labels(options.namespace, name)}} for name in users]
    database = [{"protocol": "TCP", "port": POSTGRES}]
    instances = [{"podSelector": own}]
    operator = {"namespaceSelector": {}, "podSelector": {"matchLabels": OPERATOR}}
    ingress: list[Object] = [
        {"from": members, "ports": database},
        {"from": [*instances, operator], "ports": [*database, {"protocol": "TCP", "port": STATUS}]},
    ]
    reach = [
        policy(
            options,
            f"database-{name}",
            {"matchLabels": labels(options.namespace, name)},
            egress=[{"to": instances, "ports": database}],
        )
        for name in users
    ]
    return [policy(options, f"members-{DATABASE.name}", own, ingress=ingress), *reach]
