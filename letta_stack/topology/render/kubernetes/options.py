"""What an operator decides about the objects, beside the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OLDEST = (1, 34)
"""The oldest version of Kubernetes that the objects are tested with."""

EXTERNAL = "external"
TRIAL = "trial"
OPERATED = "cnpg"
DATABASES = (EXTERNAL, TRIAL, OPERATED)

DEFAULT_SIZES = {
    "collector": "2Gi",  # the queue of a backend that does not answer, see docs/telemetry.md
    "db": "20Gi",
}


@dataclass(frozen=True)
class Options:
    """Choices; every default is the one for production."""

    namespace: str
    replicas: int = 2  # servers, and gateways
    most: int = 0  # servers that the autoscaler may make; 0 is no autoscaler
    database: str = (
        EXTERNAL  # TRIAL is one pod with one volume, OPERATED a cluster of CloudNativePG
    )
    database_image: str = ""  # of that cluster
    host: str = ""  # the name under which clients reach the API; "" is no Ingress and no HTTPRoute
    ingress_class: str = "nginx"
    gateway: str = ""  # namespace/name of a Gateway: an HTTPRoute in the place of an Ingress
    tls_secret: str = ""  # the certificate of the Ingress
    secret: str = "letta-secrets"  # noqa: S105 - the name of the Secret
    storage_class: str = ""  # "" is the cluster's default
    sizes: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_SIZES))
    pull: str = "IfNotPresent"
