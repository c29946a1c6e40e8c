"""What every object has in common."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

PART_OF = "app.kubernetes.io/part-of"
NAME = "app.kubernetes.io/name"
MANAGED = "app.kubernetes.io/managed-by"
NETWORK = "network.letta-stack/"  # and the network's name: which compose networks a pod is in
ACCOUNT = "letta-stack"


def labels(namespace: str, service: str) -> dict[str, str]:
    """Return what selects the pods of a service, and never changes."""
    return {NAME: service, PART_OF: namespace}


def make(
    version: str, kind: str, namespace: str, name: str, *, service: str = "", **body: Any
) -> Object:
    """Return an object of the project; ``service`` is what it is for, "" if for all."""
    own = labels(namespace, service or "letta-stack") | {MANAGED: "letta-stack"}
    meta = {"name": name, "namespace": namespace, "labels": own}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **body}


def namespace(name: str) -> Object:
    """Return the namespace, in which the API server itself refuses pods that are not restricted."""
    level = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    meta = {"name": name, "labels": {PART_OF: name, MANAGED: "letta-stack", **level}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def account(namespace: str) -> Object:
    """Return the account of the pods: none of them talks to the API server."""
    return make("v1", "ServiceAccount", namespace, ACCOUNT, automountServiceAccountToken=False)
