"""Kubernetes pods in the words of compose, so that the same rules hold for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KUBELET = "kubelet"
"""Who rotates logs, and bounds processes for all pods of a node alike."""


def services(objects: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a model with one service for each workload among the objects."""
    return {
        "services": {
            one["metadata"]["name"]: _service(one["kind"], one["spec"]["template"])
            for one in objects
            if "template" in one.get("spec", {})
        }
    }


def _service(kind: str, template: Mapping[str, Any]) -> dict[str, Any]:
    pod, (container,) = template["spec"], template["spec"]["containers"]
    security = container.get("securityContext") or {}
    user = security.get("runAsUser", (pod.get("securityContext") or {}).get("runAsUser", ""))
    capabilities = security.get("capabilities") or {}
    service: dict[str, Any] = {
        "image": container["image"],
        "user": str(user),
        "read_only": security.get("readOnlyRootFilesystem"),
        "cap_drop": capabilities.get("drop") or [],
        "cap_add": capabilities.get("add") or [],
        "security_opt": []
        if security.get("allowPrivilegeEscalation", True)
        else ["no-new-privileges:true"],
        "privileged": security.get("privileged"),
        "network_mode": "host" if pod.get("hostNetwork") else "",
        "pid": "host" if pod.get("hostPID") else "",
        "ipc": "host" if pod.get("hostIPC") else "",
        "deploy": {"resources": {"limits": _limits(container)}},
        "logging": {"driver": KUBELET},
        "healthcheck": {"test": container["livenessProbe"]} if "livenessProbe" in container else {},
        "restart": "no" if kind == "Job" else "always",
        "environment": {one["name"]: one.get("value") for one in container.get("env") or []},
        "labels": template["metadata"].get("annotations") or {},
        "volumes": [_mount(one, pod) for one in container.get("volumeMounts") or []],
    }
    return service


def _limits(container: Mapping[str, Any]) -> dict[str, Any]:
    limits = (container.get("resources") or {}).get("limits") or {}
    return {"memory": limits.get("memory"), "pids": KUBELET}


def _mount(mount: Mapping[str, Any], pod: Mapping[str, Any]) -> dict[str, Any]:
    (volume,) = [one for one in pod.get("volumes") or [] if one["name"] == mount["name"]] or [{}]
    if "hostPath" in volume:
        return {"type": "bind", "source": volume["hostPath"]["path"], "target": mount["mountPath"]}
    # A claim of a StatefulSet's own is not among the volumes of its pods.
    kind = "volume" if not volume or "persistentVolumeClaim" in volume else "tmpfs"
    return {"type": kind, "source": mount["name"], "target": mount["mountPath"]}
