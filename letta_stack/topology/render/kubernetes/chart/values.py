"""What a user of the chart may change: the operator's choices of `inv render` under the names of Helm's values."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.project import MOST_REPLICAS
from letta_stack.topology.render import choices
from letta_stack.topology.render.kubernetes.options import DATABASES, EXTERNAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from re import Pattern

    from letta_stack.topology.render.kubernetes.options import Options

IMAGE = "image"  # of the server, the migration and the collector
SEVERAL, SINGLE, MOST = 1_000_003, -1_000_003, 1_000_007
"""Numbers that stand for the number of servers: above one, one, and the autoscaler's."""


@dataclass(frozen=True)
class Slot:
    """The place of a value: what Helm writes there."""

    expression: str


@dataclass(frozen=True)
class Value:
    """A value of the chart."""

    comment: str
    schema: Mapping[str, Any]


def _text(comment: str, pattern: Pattern[str], *, empty: bool = False) -> Value:
    written = f"^({pattern.pattern})?$" if empty else f"^({pattern.pattern})$"
    return Value(comment, {"type": "string", "pattern": written})


_COUNT = {"type": "integer", "maximum": MOST_REPLICAS}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}
VALUES = {
    IMAGE: Value(
        "the server's image, also of the migration and the collector; best by its digest",
        {"type": "string", "minLength": 1},
    ),
    "images": Value("images of others", _TEXTS),
    "replicas": Value("servers, and gateways", {**_COUNT, "minimum": 1}),
    "maxReplicas": Value(
        "how many servers an autoscaler may make; 0 is no autoscaler; needs the metrics server",
        {**_COUNT, "minimum": 0},
    ),
    "database": Value(
        "external: its URI is in the Secret; cnpg: a cluster of CloudNativePG, whose operator must be there; trial: one pod with "
        "one volume and no backup",
        {"enum": list(DATABASES)},
    ),
    "host": _text(
        "name under which clients reach the API; without one nothing is published",
        choices.HOST,
        empty=True,
    ),
    "ingressClass": _text("class of the Ingress", choices.OBJECT),
    "tlsSecret": _text("Secret with the certificate of the Ingress", choices.OBJECT, empty=True),
    "gateway": _text(
        "namespace/name of a Gateway: an HTTPRoute in the place of the Ingress",
        choices.GATEWAY,
        empty=True,
    ),
    "secret": _text("Secret with the passwords, which must be there", choices.OBJECT),
    "storageClass": _text(
        "storage class of the volumes; the cluster's own without one", choices.OBJECT, empty=True
    ),
    "sizes": Value("sizes of the volumes", _TEXTS),
    "resources": Value(
        "requests and limits of each container",
        {"type": "object", "additionalProperties": {"type": "object"}},
    ),
}

FACETS: Mapping[str, Mapping[str | bool, str]] = {
    "database": {name: f'eq .Values.database "{name}"' for name in DATABASES},
    # A database of the release's own is not there before the release is.
    "ready": {True: 'or (eq .Values.database "external") (not .Release.IsInstall)'},
    "several": {True: "gt (int .Values.replicas) 1"},
    "scaled": {True: "gt (int .Values.maxReplicas) 0"},
    "published": {True: ".Values.host"},
    "routed": {True: ".Values.gateway"},
    "elsewhere": {True: 'contains "/" .Values.gateway'},
    "certified": {True: ".Values.tlsSecret"},
    "classed": {True: ".Values.storageClass"},
}
"""What decides which parts of the objects there are, and how Helm asks for each of its values."""

_EXPOSURES = (  # published, routed, elsewhere, certified
    (False, False, False, False),
    (True, False, False, False),
    (True, False, False, True),
    (True, True, False, False),
    (True, True, True, False),
)


BESIDE = 2  # choices that are not the usual ones, in one variant


def variants() -> list[dict[str, str | bool]]:
    """Return the usual choices, and every other one by itself and beside each other: no part depends on three at once."""
    both = (False, True)
    databases = [(name, ready) for name in DATABASES for ready in both if ready or name != EXTERNAL]
    given = (databases, both, both, _EXPOSURES, both)
    usual = [one[0] for one in given]
    return [
        dict(zip(FACETS, (*database, several, scaled, *exposure, classed), strict=True))
        for database, several, scaled, exposure, classed in itertools.product(*given)
        if _others((database, several, scaled, exposure, classed), usual) <= BESIDE
    ]


def _others(chosen: Sequence[object], usual: Sequence[object]) -> int:
    return sum(one != other for one, other in zip(chosen, usual, strict=True))


def options(variant: Mapping[str, str | bool], given: Options) -> Options:
    """Return choices whose every text and number is a place; ``given`` says which volumes have a size."""
    gateway = "slot-gateway-namespace/slot-gateway" if variant["elsewhere"] else "slot-gateway"
    return replace(
        given,
        namespace="slot-namespace",
        replicas=SEVERAL if variant["several"] else SINGLE,
        most=MOST if variant["scaled"] else 0,
        database=str(variant["database"]),
        database_image="slot-images-cnpg",
        host="slot-host" if variant["published"] else "",
        ingress_class="slot-ingressClass",
        gateway=gateway if variant["routed"] else "",
        tls_secret="slot-tlsSecret" if variant["certified"] else "",
        secret="slot-secret",  # noqa: S106 - a place
        storage_class="slot-storageClass" if variant["classed"] else "",
        sizes={name: f"slot-sizes-{name}" for name in given.sizes},
    )


def model(real: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model with a place for each image."""
    own = real["services"][SERVER]["image"]
    services = {
        name: {
            **service,
            "image": "slot-image" if service["image"] == own else f"slot-images-{name}",
        }
        for name, service in real["services"].items()
    }
    return {**real, "services": services}


def short(service: str) -> str:
    """Return the name of a service among the values."""
    return service.removeprefix("letta-")


def slots(real: Mapping[str, Any], given: Options) -> dict[str | int, Slot]:
    """Return what Helm writes in each place."""
    texts = ("host", "ingressClass", "tlsSecret", "secret", "storageClass", IMAGE)
    return {
        "slot-namespace": Slot(".Release.Namespace | quote"),
        "slot-gateway": Slot('splitList "/" .Values.gateway | last | quote'),
        "slot-gateway-namespace": Slot('splitList "/" .Values.gateway | first | quote'),
        SEVERAL: Slot("int .Values.replicas"),
        SINGLE: Slot("int .Values.replicas"),
        MOST: Slot("int .Values.maxReplicas"),
        **{f"slot-{name}": Slot(f".Values.{name} | quote") for name in texts},
        **{
            f"slot-sizes-{name}": Slot(f'index .Values.sizes "{name}" | quote')
            for name in given.sizes
        },
        **{
            f"slot-images-{name}": Slot(f'index .Values.images "{short(name)}" | quote')
            for name in [*real["services"], "cnpg"]
        },
    }


def filled(node: Any, places: Mapping[str | int, Slot]) -> Any:
    """Return objects with a slot in each place."""
    if isinstance(node, dict):
        return {key: filled(value, places) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, places) for value in node]
    return places.get(node, node) if isinstance(node, str | int) else node


def defaults(real: Mapping[str, Any], given: Options) -> dict[str, Any]:
    """Return the value of each name that the user chose for `inv render`, but for resources."""
    own = real["services"][SERVER]["image"]
    others = {
        short(name): service["image"]
        for name, service in sorted(real["services"].items())
        if service["image"] != own
    }
    return {
        IMAGE: own,
        "images": {**others, "cnpg": given.database_image},
        "replicas": given.replicas,
        "maxReplicas": given.most,
        "database": given.database,
        "host": given.host,
        "ingressClass": given.ingress_class,
        "tlsSecret": given.tls_secret,
        "gateway": given.gateway,
        "secret": given.secret,
        "storageClass": given.storage_class,
        "sizes": dict(given.sizes),
    }
