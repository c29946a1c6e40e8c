"""What keeps the pods of a service: a Deployment, a StatefulSet for a database, a Job for what ends by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import content_hash
from letta_stack.errors import NotExpressible
from letta_stack.topology.render.kubernetes.objects import Object, labels, make
from letta_stack.topology.render.kubernetes.pods import takes_requests
from letta_stack.topology.render.kubernetes.storage import is_database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.render.kubernetes.options import Options
    from letta_stack.topology.render.kubernetes.storage import Storage

ATTEMPTS = 3
ONE_SHOT_SECONDS = 3600
"""As long as `inv up` waits for a migration."""
PROGRESS_SECONDS = 900
"""A rolling update that gets nowhere for so long has failed: a server has five minutes to start."""
REVISIONS = 5
BUSY_PERCENT = 70  # of the requested processor time, above which the autoscaler adds servers
CALM_SECONDS = 600  # no server leaves before so much calm: a turn takes minutes


def workload(
    name: str, service: Mapping[str, Any], template: Object, found: Storage, options: Options
) -> list[Object]:
    """Return what runs the pods of a service, and what goes with it; raise ``NotExpressible``."""
    restart = service.get("restart")
    if restart == "no":
        return [_job(name, template, options)]
    if restart not in {"always", "unless-stopped"}:
        raise NotExpressible(
            f"services.{name}.restart is {restart!r}; use unless-stopped, or no for what runs once"
        )
    if is_database(service):
        return [_stateful_set(name, template, found, options)]
    claims = [
        make("v1", "PersistentVolumeClaim", options.namespace, claim, service=name, spec=spec)
        for claim, spec in found.claims.items()
    ]
    return [*claims, *_deployment(name, service, template, options, alone=bool(claims))]


def _deployment(
    name: str, service: Mapping[str, Any], template: Object, options: Options, *, alone: bool
) -> list[Object]:
    many = takes_requests(service)
    scaled = bool(options.most) and "replicas" in (service.get("deploy") or {})
    # Two pods cannot have one volume, so the old one ends first; elsewhere the new one is there first.
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    spec: Object = {
        "selector": {"matchLabels": labels(options.namespace, name)},
        "strategy": {"type": "Recreate"} if alone else rolling,
        "progressDeadlineSeconds": PROGRESS_SECONDS,
        "revisionHistoryLimit": REVISIONS,
        "template": template,
    }
    if not scaled:  # else the number is the autoscaler's
        spec["replicas"] = options.replicas if many else 1
    found = [make("apps/v1", "Deployment", options.namespace, name, service=name, spec=spec)]
    if many and options.replicas > 1:
        found.append(_disruption_budget(name, options))
    if scaled:
        found.append(_autoscaler(name, options))
    return found


def _disruption_budget(name: str, options: Options) -> Object:
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": labels(options.namespace, name)},
        # Who is not ready keeps nobody from emptying a node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return make(
        "policy/v1", "PodDisruptionBudget", options.namespace, name, service=name, spec=spec
    )


def _autoscaler(name: str, options: Options) -> Object:
    usage = {"type": "Utilization", "averageUtilization": BUSY_PERCENT}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": options.replicas,
        "maxReplicas": options.most,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": usage}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": CALM_SECONDS}},
    }
    return make(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        options.namespace,
        name,
        service=name,
        spec=spec,
    )


def _stateful_set(name: str, template: Object, found: Storage, options: Options) -> Object:
    spec = {
        "serviceName": name,
        "replicas": 1,
        "selector": {"matchLabels": labels(options.namespace, name)},
        "template": template,
        "volumeClaimTemplates": [
            {"metadata": {"name": claim}, "spec": spec} for claim, spec in found.claims.items()
        ],
        # The data outlive the object, as a volume outlives `inv down`.
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    }
    return make("apps/v1", "StatefulSet", options.namespace, name, service=name, spec=spec)


def _job(name: str, template: Object, options: Options) -> Object:
    template["spec"]["restartPolicy"] = "Never"
    # A Job never changes: another image or setting is another Job, and the same one has run already.
    digest = content_hash.digest(Path("/"), (), [json.dumps(template, sort_keys=True)])[:10]
    spec = {
        "backoffLimit": ATTEMPTS,
        "activeDeadlineSeconds": ONE_SHOT_SECONDS,
        "template": template,
    }
    return make("batch/v1", "Job", options.namespace, f"{name}-{digest}", service=name, spec=spec)
