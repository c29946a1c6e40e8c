"""How far the objects of a namespace are: every pod of the newest kind and ready, or one that cannot become it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from letta_stack.base.wait import wait_until
from letta_stack.errors import NodesCannotPull, RolloutFailed, WaitTimedOut
from letta_stack.topology.render.kubernetes.objects import NAME
from letta_stack.topology.runners.kubernetes import REVISION, parse_pod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from letta_stack.topology.runners.kubernetes import Kubernetes

CANNOT_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
CANNOT_START = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
MOST_RESTARTS = 3
TEMPLATE = "pod-template-hash"  # a label of a ReplicaSet and of its pods


def wait(mine: Kubernetes, reached: Callable[[], bool], timeout: float) -> None:
    """Wait until something is reached; raise ``RolloutFailed`` if it is not."""
    try:
        wait_until(reached, timeout=timeout, interval=1.0, describe="")
    except WaitTimedOut as error:
        raise RolloutFailed(f"not ready after {timeout:g} s: {overview(mine)}") from error


def migrated(mine: Kubernetes, jobs: Sequence[str]) -> bool:
    """Say whether the migration has ended; raise ``RolloutFailed`` if it failed."""
    seen = mine.mine("jobs,pods")
    refuse_broken(seen)
    found = {one["metadata"]["name"]: one["status"] for one in seen if one["kind"] == "Job"}
    for name in jobs:
        if any(
            one["type"] == "Failed" and one["status"] == "True"
            for one in found[name].get("conditions") or []
        ):
            raise RolloutFailed(
                f"the migration failed: kubectl logs job/{name}; what ran before serves on"
            )
    return all(found[name].get("succeeded") for name in jobs)


def rolled_out(mine: Kubernetes) -> bool:
    """Say whether every pod is of the newest kind and ready; raise ``RolloutFailed`` if one cannot become it."""
    seen = mine.mine("deployments,statefulsets,replicasets,pods")
    refuse_broken(seen)
    return all(_complete(one) for one in seen if one["kind"] in {"Deployment", "StatefulSet"})


def restored(mine: Kubernetes) -> bool:
    """Say whether all is as it was before an update that failed, whatever that left."""
    return all(_complete(one) for one in mine.mine("deployments"))


def _complete(one: Mapping[str, Any]) -> bool:
    status, name = one["status"], one["metadata"]["name"]
    if not _observed(one):
        return False
    for condition in status.get("conditions") or []:
        stuck = condition["type"] == "Progressing" and condition["status"] == "False"
        refused = condition["type"] == "ReplicaFailure" and condition["status"] == "True"
        if stuck or refused:
            raise RolloutFailed(f"{name}: {condition['message']}; what ran before serves on")
    wanted = one["spec"].get("replicas", 1)
    return bool(
        status.get("updatedReplicas", 0) == wanted
        and status.get("readyReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
    )


def _observed(one: Mapping[str, Any]) -> bool:
    """Say whether the status is that of what was applied last."""
    return bool(one["status"].get("observedGeneration", 0) >= one["metadata"]["generation"])


def _newest(seen: Sequence[Mapping[str, Any]], pod: Mapping[str, Any]) -> bool:
    """Say whether a pod is there to stay: one of an older revision, and one that ends, may be as broken as it likes."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    template = pod["metadata"]["labels"].get(TEMPLATE)
    if template is None:  # of a Job or a StatefulSet
        return True
    present = [_revision(one) for one in seen if one["kind"] == "Deployment" and _observed(one)]
    return any(
        one["metadata"]["labels"][TEMPLATE] == template and _revision(one) in present
        for one in seen
        if one["kind"] == "ReplicaSet"
    )


def _revision(one: Mapping[str, Any]) -> tuple[str, str]:
    notes = one["metadata"].get("annotations") or {}
    return one["metadata"]["labels"][NAME], notes.get(REVISION, "")


def refuse_broken(seen: Sequence[Mapping[str, Any]]) -> None:
    """Raise for a pod that no waiting brings up; ``seen`` are pods, and the Deployments and ReplicaSets that tell old from new."""
    for pod in seen:
        if pod["kind"] != "Pod" or not _newest(seen, pod):
            continue
        name = pod["metadata"]["name"]
        for status in pod["status"].get("containerStatuses") or []:
            waiting = (status.get("state") or {}).get("waiting") or {}
            reason, said = waiting.get("reason", ""), waiting.get("message", "")
            if reason in CANNOT_PULL:
                raise NodesCannotPull(
                    f"{name}: {status['image']}: {said or reason}; push it to a registry that the nodes reach, and name it in "
                    "LETTA_STACK_IMAGE or pins.env"
                )
            broken = reason == "CrashLoopBackOff" and status["restartCount"] >= MOST_RESTARTS
            if reason in CANNOT_START or broken:
                raise RolloutFailed(
                    f"{name}: {said or reason}; see `kubectl logs {name} --previous`"
                )


def overview(mine: Kubernetes) -> str:
    """Say how far each pod is, and why one has no node."""
    pods = mine.mine("pods")
    homeless = [
        condition["message"]
        for pod in pods
        for condition in pod["status"].get("conditions") or []
        if condition["type"] == "PodScheduled" and condition["status"] == "False"
    ]
    return ", ".join(dict.fromkeys([*map(str, map(parse_pod, pods)), *homeless]))
