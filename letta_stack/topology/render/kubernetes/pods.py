"""One compose service as the pod that runs it, under the restricted Pod Security standard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from letta_stack.errors import NotExpressible
from letta_stack.policy.rules import SECRET_NAME
from letta_stack.topology.catalogue import DATABASE
from letta_stack.topology.render.kubernetes.network import memberships
from letta_stack.topology.render.kubernetes.objects import ACCOUNT, Object, labels
from letta_stack.topology.render.kubernetes.probes import probes
from letta_stack.topology.render.kubernetes.storage import is_database
from letta_stack.topology.render.values import (
    environment,
    plain,
    seconds,
    user,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.render.kubernetes.options import Options
    from letta_stack.topology.render.kubernetes.storage import Storage

DRAIN_SECONDS = 35
"""From "leaves the Service" to SIGTERM: an answer of the cluster's DNS lives up to 30 s (kubeadm, NodeLocal DNSCache), the gateway
asks every 2 s, and a busy node takes seconds to forget an address. An update does not wait for it."""
USUAL_SHARES = 1024
MILLICORES = 50
"""What a service without a reservation asks for, by the engine's usual weight: it shares out processors when they are short."""
USUAL_GRACE = "10s"  # compose's own
USUAL_SIGNAL = "SIGTERM"


def pod(
    name: str, service: Mapping[str, Any], found: Storage, options: Options, *, own_image: bool
) -> Object:
    """Return the template of a service's pods; raise ``NotExpressible``.

    Args:
        name: the service.
        service: its part of the model.
        found: what it mounts.
        options: the operator's choices.
        own_image: whether it runs the server's image.

    """
    uid, gid = user(name, service)
    drains = takes_requests(service)
    grace = seconds(service.get("stop_grace_period") or USUAL_GRACE)
    spec: Object = {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "shareProcessNamespace": bool(service.get("init")),  # the pause container is the init
        "terminationGracePeriodSeconds": grace + (DRAIN_SECONDS if drains else 0),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": uid,
            "runAsGroup": gid,
            "fsGroup": gid,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(name, service, found, options, own_image=own_image)],
        "volumes": found.volumes,
    }
    if drains:
        selector = {"matchLabels": labels(options.namespace, name)}
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": selector,
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
    meta: Object = {"labels": labels(options.namespace, name) | memberships(service)}
    if notes := {key: str(value) for key, value in sorted((service.get("labels") or {}).items())}:
        meta["annotations"] = notes
    return {"metadata": meta, "spec": spec}


def takes_requests(service: Mapping[str, Any]) -> bool:
    """Say whether clients' requests pass through a service: several pods of it run, and none may end with requests in it."""
    return bool(service.get("ports")) or "replicas" in (service.get("deploy") or {})


def _container(
    name: str, service: Mapping[str, Any], found: Storage, options: Options, *, own_image: bool
) -> Object:
    body: Object = {
        "name": name,
        "image": service["image"],
        "imagePullPolicy": options.pull,
        "securityContext": _security(name, service),
        "resources": resources(service),
        "volumeMounts": found.mounts,
        **probes(name, service, own_image=own_image),
    }
    for key, field in (("entrypoint", "command"), ("command", "args")):
        if service.get(key):
            body[field] = [_literal(plain(word)) for word in service[key]]
    variables = environment(service)
    if is_database(service):
        # A volume begins with lost+found, or belongs to root: the database makes a directory of its own in it.
        (target,) = [one["target"] for one in service["volumes"] if one["type"] == "volume"]
        variables["PGDATA"] = f"{target}/{DATABASE.name}"
    if variables:
        body["env"] = [{"name": key, "value": _literal(value)} for key, value in variables.items()]
    if takes_keys(service):
        body["envFrom"] = [{"secretRef": {"name": environment_secret(name), "optional": True}}]
    if ports := [
        {"name": "http", "containerPort": int(one["target"])} for one in service.get("ports") or []
    ]:
        body["ports"] = ports
    if hook := _before_stop(name, service):
        body["lifecycle"] = {"preStop": hook}
    return body


def _literal(text: str) -> str:
    """Keep Kubernetes from putting a variable in the place of $(NAME)."""
    return text.replace("$(", "$$(")


def takes_keys(service: Mapping[str, Any]) -> bool:
    """Say whether a service reads variables that hold secrets, set or not."""
    return any(SECRET_NAME.search(key) for key in service.get("environment") or {})


def environment_secret(name: str) -> str:
    """Name the Secret with the variables of a service that no manifest may show."""
    return f"{name}-environment"


def _security(name: str, service: Mapping[str, Any]) -> Object:
    options = {str(one).replace("=", ":") for one in service.get("security_opt") or []}
    if not options <= {"no-new-privileges:true", "no-new-privileges"} or not options:
        raise NotExpressible(
            f"services.{name}.security_opt is {sorted(options)}; restricted pods have no-new-privileges and the "
            "runtime's own seccomp profile"
        )
    if "ALL" not in (service.get("cap_drop") or []):
        raise NotExpressible(f"services.{name} keeps capabilities; restricted pods drop ALL")
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": sorted(service["cap_drop"])},
        "readOnlyRootFilesystem": bool(service.get("read_only")),
    }


def resources(service: Mapping[str, Any]) -> Object:
    """Return what a service asks for, and what it gets at most."""
    given = (service.get("deploy") or {}).get("resources") or {}
    shares = int(service.get("cpu_shares") or USUAL_SHARES)
    # Named, for without a request Kubernetes takes the limit for one.
    requests: dict[str, str] = {"cpu": f"{MILLICORES * shares // USUAL_SHARES}m", "memory": "0"}
    limits: dict[str, str] = {}
    for amounts, wanted in (
        (given.get("limits") or {}, limits),
        (given.get("reservations") or {}, requests),
    ):
        if "cpus" in amounts:
            wanted["cpu"] = f"{round(float(amounts['cpus']) * 1000)}m"
        if "memory" in amounts:
            wanted["memory"] = str(amounts["memory"])
    return {"limits": limits, "requests": requests}


def _before_stop(name: str, service: Mapping[str, Any]) -> Object:
    if takes_requests(service):
        return {"sleep": {"seconds": DRAIN_SECONDS}}
    signal = str(service.get("stop_signal") or USUAL_SIGNAL).removeprefix("SIG")
    if f"SIG{signal}" == USUAL_SIGNAL:
        return {}
    if service.get("init"):
        raise NotExpressible(
            f"services.{name} has an init and a stop signal; with an init nobody knows the process to send it to"
        )
    return {"exec": {"command": ["/bin/sh", "-c", f"kill -{signal} 1"]}}
