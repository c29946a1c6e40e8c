"""What objects take of a namespace at their peak: processors, memory, storage, and how many of each kind there are."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Object = Mapping[str, Any]

Amounts = dict[str, Decimal]
"""By the names that a ResourceQuota has for them."""

QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")
SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
KINDS = {
    "ConfigMap": "configmaps",
    "Cluster": "clusters.postgresql.cnpg.io",
    "Deployment": "deployments.apps",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers.autoscaling",
    "Ingress": "ingresses.networking.k8s.io",
    "Job": "jobs.batch",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Service": "services",
    "StatefulSet": "statefulsets.apps",
}
"""What a quota may count, with the name that it and kubectl have for it."""
ENDED = {"Succeeded", "Failed"}


def quantity(text: object) -> Decimal:
    """Return a quantity of Kubernetes, such as 500m or 2Gi, as a number."""
    found = QUANTITY.fullmatch(str(text))
    if found is None or found[2] not in SUFFIXES:
        raise ValueError(text)
    return Decimal(found[1]) * SUFFIXES[found[2]]


def pods(objects: Iterable[Object]) -> Iterator[tuple[str, int, Object]]:
    """Yield name and pod of each workload, with the number of such pods in the middle of an update."""
    objects = list(objects)
    least = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]["minReplicas"]
        for one in objects
        if one["kind"] == "HorizontalPodAutoscaler"
    }
    for one in objects:
        spec, name = one.get("spec", {}), one["metadata"]["name"]
        if "template" not in spec:
            continue
        count = spec.get("replicas", least.get(name, 1))
        surge = (spec.get("strategy") or {}).get("rollingUpdate", {}).get("maxSurge", 0)
        yield name, count + surge, spec["template"]["spec"]


def claims(objects: Iterable[Object]) -> Iterator[tuple[str, Object]]:
    """Yield the volumes that are asked for: name and spec."""
    for one in objects:
        if one["kind"] == "PersistentVolumeClaim":
            yield one["metadata"]["name"], one["spec"]
        for claim in one.get("spec", {}).get("volumeClaimTemplates", []):
            yield f"{claim['metadata']['name']}-{one['metadata']['name']}-0", claim["spec"]


def of_pods(found: Iterable[tuple[int, Object]]) -> Amounts:
    """Return what so many pods each take."""
    total: Counter[str] = Counter()
    for count, pod in found:
        total["pods"] += count
        for container in pod["containers"]:
            for side, amounts in (container.get("resources") or {}).items():
                if side in {"requests", "limits"}:
                    for name, amount in amounts.items():
                        total[f"{side}.{name}"] += count * quantity(amount)  # type: ignore[assignment]
    return {name: Decimal(amount) for name, amount in total.items()}


def running(found: Iterable[Object]) -> Amounts:
    """Return what pods of a cluster take now: those that have not ended."""
    return of_pods((1, one["spec"]) for one in found if one["status"].get("phase") not in ENDED)


def of_claims(found: Iterable[Object]) -> Amounts:
    """Return what volumes take."""
    total: dict[str, Decimal] = {}
    for spec in found:
        size = quantity(spec["resources"]["requests"]["storage"])
        names = {"requests.storage": size, "persistentvolumeclaims": Decimal(1)}
        if given := spec.get("storageClassName"):
            ours = f"{given}.storageclass.storage.k8s.io"
            names |= {f"{ours}/{name}": amount for name, amount in names.items()}
        for name, amount in names.items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total
