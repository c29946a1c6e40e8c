"""The migration before the rollout: what ends by itself becomes a hook, with all that it needs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from letta_stack.topology.render.kubernetes.chart.values import Slot
from letta_stack.topology.render.kubernetes.objects import MANAGED, NAME, Object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOOK = {
    "helm.sh/hook": "pre-install,pre-upgrade",
    # What failed stays there to be read until the next attempt.
    "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
}
WEIGHT = "helm.sh/hook-weight"
KEEP = {"helm.sh/resource-policy": "keep"}
DATA = {"PersistentVolumeClaim", "Cluster"}
"""What holds data, and so outlives `helm uninstall`, as it does `inv down`."""


def hooked(objects: Iterable[Object], model: Mapping[str, Any], *, ready: bool) -> list[Object]:
    """Make the objects of a chart of those of `kubectl apply -k`; what runs once and what it mounts are hooks.

    Helm makes the namespace itself, and writes its own name into a label. A hook runs before the objects of a release are
    there, so it has an account of its own; its Job has one name, which Helm deletes before the next one.

    Args:
        objects: changed, and returned.
        model: what `docker compose config` writes.
        ready: whether the database is there before the release; without it, the Job is a part of the release, and the
            servers wait for it.

    """
    once = [name for name, service in model["services"].items() if service.get("restart") == "no"]
    found = []
    for one in objects:
        if one["kind"] == "Namespace":
            continue
        service = one["metadata"]["labels"][NAME]
        one["metadata"]["labels"][MANAGED] = Slot(".Release.Service")
        if service in once:
            found += _hook(one, service, HOOK if ready else {})
        elif one["kind"] in DATA:
            found.append(_annotated(one, KEEP))
        else:
            found.append(one)
    return found


def _hook(one: Object, service: str, hook: Mapping[str, str]) -> list[Object]:
    early, late = ({**hook, WEIGHT: weight} if hook else {} for weight in ("-1", "0"))
    if one["kind"] != "Job":
        return [_annotated(one, early)]
    one["metadata"]["name"] = service
    one["spec"]["template"]["spec"]["serviceAccountName"] = service
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": copy.deepcopy(one["metadata"]),
        "automountServiceAccountToken": False,
    }
    return [_annotated(account, early), _annotated(one, late)]


def _annotated(one: Object, notes: Mapping[str, str]) -> Object:
    if notes:
        one["metadata"]["annotations"] = {**one["metadata"].get("annotations", {}), **notes}
    return one
