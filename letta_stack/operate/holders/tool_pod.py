"""A pod for one piece of work, like those of a workload: the same user, the same rights, none of its labels, so nobody reaches it."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.errors import WaitTimedOut
from letta_stack.topology import cluster_state
from letta_stack.topology.render.kubernetes.objects import MANAGED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from letta_stack.topology.runners.kubernetes import Kubernetes

NAME = "tool"
PREFIX = "letta-stack-tool-"
START_SECONDS = 600.0  # a node may have to fetch the image first
LONGEST_SECONDS = 24 * 3600  # the cluster itself ends what a killed command left
LIMITS = {"cpu": "1", "memory": "1Gi"}
REQUESTS = {"cpu": "50m", "memory": "128Mi"}
KEPT = ("securityContext", "imagePullSecrets", "nodeSelector", "tolerations")
NAP = ("sleep", str(LONGEST_SECONDS))


@contextlib.contextmanager
def started(
    mine: Kubernetes,
    workload: Mapping[str, Any],
    *,
    image: str = "",
    command: Sequence[str] = NAP,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Run a pod for the block and give its name.

    Args:
        mine: the namespace.
        workload: the Deployment or StatefulSet whose user and image it takes.
        image: another image, "" for that one.
        command: what runs in it.
        environment: its variables.

    Raises:
        NodesCannotPull: the nodes cannot get the image.
        RolloutFailed: the pod does not start.

    """
    name = PREFIX + secrets.token_hex(4)
    mine.apply([body(name, workload, image=image, command=command, environment=environment or {})])
    try:
        cluster_state.wait(mine, lambda: runs(mine, name), START_SECONDS)
        yield name
    except WaitTimedOut as error:
        raise WaitTimedOut(f"{error}; the pod said: {log(mine, name)}") from error
    finally:
        gone = ["delete", "pod", name, "--now", "--wait=false", "--ignore-not-found"]
        process.probe(mine.argv(*gone))


def runs(mine: Kubernetes, name: str) -> bool:
    """Say whether the pod has started. Raises ``NodesCannotPull``, ``RolloutFailed``."""
    (pod,) = mine.get(f"pod/{name}")
    cluster_state.refuse_broken([pod])
    statuses = pod["status"].get("containerStatuses") or []
    return any("running" in (one.get("state") or {}) for one in statuses)


def log(mine: Kubernetes, name: str) -> str:
    """Return the last line that the pod wrote."""
    written = process.probe(mine.argv("logs", name, "--tail=1"))
    return (written.stdout + written.stderr).strip()


def body(
    name: str,
    workload: Mapping[str, Any],
    *,
    image: str,
    command: Sequence[str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """Write the pod; the restricted Pod Security standard takes it."""
    template = workload["spec"]["template"]["spec"]
    (like,) = template["containers"]
    container = {
        "name": NAME,
        "image": image or like["image"],
        "imagePullPolicy": like["imagePullPolicy"],
        "command": list(command),
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "securityContext": like["securityContext"],
        "resources": {"limits": LIMITS, "requests": REQUESTS},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the pod
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {MANAGED: "letta-stack"}},
        "spec": {
            **{key: template[key] for key in KEPT if key in template},
            "activeDeadlineSeconds": LONGEST_SECONDS,
            "automountServiceAccountToken": False,
            "containers": [container],
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "serviceAccountName": template["serviceAccountName"],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }
