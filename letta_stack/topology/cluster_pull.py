"""Whether the nodes can get the images: asked of the nodes themselves, by a pod that does nothing else."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, process
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.errors import NodesCannotPull, WaitTimedOut
from letta_stack.topology.cluster_checks import allowed
from letta_stack.topology.cluster_state import CANNOT_PULL
from letta_stack.topology.render import text
from letta_stack.topology.render.kubernetes.objects import ACCOUNT, MANAGED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from letta_stack.topology.runners.kubernetes import Kubernetes

    Object = Mapping[str, Any]

PULL_SECONDS = 600
"""For a server's image of 1.5 GB; what takes longer shows at the rollout."""
NOBODY = 65534
ROOM = {"cpu": "10m", "memory": "32Mi"}
"""Of each container: a namespace with a quota wants to be told."""


def check(runner: Kubernetes, objects: Iterable[Object]) -> None:
    """Raise ``NodesCannotPull`` if a node that has room cannot get an image that no ready pod of the project has."""
    pods = [one["spec"]["template"]["spec"] for one in objects if "template" in one.get("spec", {})]
    wanted = {container["image"] for pod in pods for container in pod["containers"]}
    images = sorted(wanted - _there(runner))
    if not images:
        return
    rights = [("pods", "", verb) for verb in ("create", "delete")]
    if allowed(runner, rights) < set(rights):
        console.say(
            "the user of the context may not make a pod to try the images with; one that no node can pull would show at the rollout"
        )
        return
    name = f"letta-stack-pull-{uuid.uuid4().hex[:6]}"
    process.capture(
        runner.argv("create", "--filename", "-"), stdin=text.dump([_pod(runner, name, images)])
    )
    try:
        with Progress("asking the nodes for the images"):
            wait_until(
                lambda: _pulled(runner, name, len(images)),
                timeout=PULL_SECONDS,
                interval=1.0,
                describe="",
            )
    except WaitTimedOut:
        console.say(f"no node had the images after {PULL_SECONDS} s; the rollout waits for them")
    finally:
        process.probe(runner.argv("delete", "pod", name, "--now", "--wait=false"))


def _there(runner: Kubernetes) -> set[str]:
    """Return the images of the pods that are ready."""
    return {
        container["image"]
        for pod in runner.mine("pods")
        if all(one.get("ready") for one in pod["status"].get("containerStatuses") or [{}])
        for container in pod["spec"]["containers"]
    }


def _pod(runner: Kubernetes, name: str, images: Iterable[str]) -> Object:
    """Return a pod with a container for each image; whether its command is there does not matter."""
    asked = process.probe(runner.argv("get", "serviceaccount", ACCOUNT))
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {MANAGED: "letta-stack"}},
        "spec": {
            # The account of the pods may have secrets with which images are pulled.
            "serviceAccountName": ACCOUNT if asked.ok else "default",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": PULL_SECONDS,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": NOBODY,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": f"image-{number}",
                    "image": image,
                    "command": ["true"],
                    "securityContext": security,
                    "resources": {"requests": ROOM, "limits": ROOM},
                }
                for number, image in enumerate(images)
            ],
        },
    }


def _pulled(runner: Kubernetes, name: str, count: int) -> bool:
    """Say whether every container got as far as its start; raise ``NodesCannotPull`` if one has no image."""
    (pod,) = runner.get("pod", name)
    statuses = pod["status"].get("containerStatuses") or []
    states = [(one["image"], one.get("state") or {}) for one in statuses]
    for image, state in states:
        waiting = state.get("waiting") or {}
        if waiting.get("reason") in CANNOT_PULL:
            raise NodesCannotPull(
                f"{image}: {waiting.get('message') or waiting['reason']}; push it to a registry that the nodes reach, and name it in "
                "LETTA_STACK_IMAGE or pins.env; nothing was applied"
            )
    begun = [state for _, state in states if not _is_pulling(state)]
    return len(begun) == count


def _is_pulling(state: Object) -> bool:
    return (state.get("waiting") or {"reason": ""}).get("reason") in {
        None,
        "ContainerCreating",
        "PodInitializing",
    }
