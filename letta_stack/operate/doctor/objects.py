"""What the objects of a namespace say about themselves: pods, restarts, images, Secrets, claims, autoscalers, certificates."""

from __future__ import annotations

import base64
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509

from letta_stack.operate import table
from letta_stack.operate.doctor.model import Finding, fail, ok, skip, warn
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.render.kubernetes.objects import NAME
from letta_stack.topology.runners.kubernetes import parse_pod

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.operate.doctor.model import ClusterSubject

Object = dict[str, Any]
RECENT = timedelta(days=1)
SOON = timedelta(days=30)
FULL, NEARLY = 0.95, 0.8  # shares of a volume
TLS = "kubernetes.io/tls"


def pods(subject: ClusterSubject) -> Finding:
    """Look whether every workload has its pods, of the newest kind and ready."""
    flags = subject.project.flags
    workloads = [one for one in subject.objects if one["kind"] in {"Deployment", "StatefulSet"}]
    if not workloads:
        return fail("pods", "none", f"start them: `inv up {flags}`")
    bad = []
    for one in workloads:
        wanted, status = one["spec"].get("replicas", 1), one["status"]
        ready, fresh = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
        if (ready, fresh) != (wanted, wanted):
            bad.append(f"{one['metadata']['name']} has {ready} of {wanted} ready, {fresh} new")
    bad += [line for one in subject.pods if (line := trouble(one))]
    count = sum(parse_pod(one).ready for one in subject.pods)
    if bad:
        return fail("pods", "; ".join(bad), f"`inv logs {flags}`, `kubectl describe pod`")
    return ok("pods", f"{count} pods of {len(workloads)} workloads do their work")


def trouble(pod: Mapping[str, Any]) -> str:
    """Say why a pod does not run, "" if it does."""
    name = pod["metadata"]["name"]
    for one in pod["status"].get("conditions") or []:
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return f"{name}: {one.get('message', one.get('reason', 'has no node'))}"
    for one in pod["status"].get("containerStatuses") or []:
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason", "ContainerCreating") != "ContainerCreating":
            return f"{name}: {waiting.get('message') or waiting['reason']}"
    return ""


def restarts(subject: ClusterSubject, now: datetime | None = None) -> Finding:
    """Look which containers ended within a day and were started again, and why."""
    now = now or datetime.now(UTC)
    found = []
    for pod in subject.pods:
        for one in pod["status"].get("containerStatuses") or []:
            last = (one.get("lastState") or {}).get("terminated") or {}
            ended = datetime.fromisoformat(last["finishedAt"]) if last.get("finishedAt") else None
            if ended and now - ended < RECENT:
                why = f"{last.get('reason', 'ended')}, code {last.get('exitCode', '?')}"
                name = pod["metadata"]["name"]
                found.append(
                    f"{name} ended at {ended:%H:%M} UTC ({why}) and was started again (no. {one['restartCount']})"
                )
    if found:
        return warn("restarts", "; ".join(found), "`kubectl logs POD --previous` says why")
    return ok("restarts", "no container was started again within a day")


def images(subject: ClusterSubject) -> Finding:
    """Look whether the pods of each service run one image."""
    by_service: dict[str, set[str]] = defaultdict(set)
    for pod in subject.pods:
        for one in pod["status"].get("containerStatuses") or []:
            if one.get("imageID") and not pod["metadata"].get("deletionTimestamp"):
                by_service[pod["metadata"]["labels"][NAME]].add(one["imageID"])
    mixed = sorted(name for name, found in by_service.items() if len(found) > 1)
    if mixed:
        seen = f"{', '.join(mixed)}: the pods run different images"
        return warn("images", seen, "an update is under way, or stands still: see the pods")
    running = {
        one["image"]
        for pod in subject.pods
        if pod["metadata"]["labels"][NAME] == SERVER
        for one in pod["status"].get("containerStatuses") or []
    }
    return ok("images", f"one of each service, {', '.join(sorted(running)) or 'no server'}")


def migration(subject: ClusterSubject) -> Finding:
    """Look how the Job of the migration ended."""
    jobs = [one for one in subject.objects if one["kind"] == "Job"]
    if not jobs:
        return skip("migration job", "the cluster has removed it")
    failed = [one["metadata"]["name"] for one in jobs if not one["status"].get("succeeded")]
    if failed:
        return fail(
            "migration job", f"{', '.join(failed)} did not succeed", f"kubectl logs job/{failed[0]}"
        )
    return ok("migration job", "succeeded")


def secrets(subject: ClusterSubject) -> Finding:
    """Look whether each key that a pod gets as a file is in its Secret and has a value."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for one in subject.objects:
        template = one.get("spec", {}).get("template", {}).get("spec", {})
        for volume in template.get("volumes") or []:
            if given := volume.get("secret"):
                wanted[given["secretName"]] |= {item["key"] for item in given["items"]}
    lacking = [
        f"{name} lacks {key}"
        for name, keys in sorted(wanted.items())
        for key in sorted(keys)
        if not subject.secret(name).get(key)
    ]
    if lacking:
        seen = "; ".join(lacking)
        return fail("secrets", seen, "docs/topologies/kubernetes.md says what each key is")
    count = sum(map(len, wanted.values()))
    return ok("secrets", f"{count} keys in {', '.join(sorted(wanted)) or 'no Secret'}")


def autoscaler(subject: ClusterSubject) -> Finding:
    """Look whether an autoscaler gets figures."""
    found = [one for one in subject.objects if one["kind"] == "HorizontalPodAutoscaler"]
    if not found:
        return skip("autoscaler", "none; see --max-replicas")
    for one in found:
        for condition in one["status"].get("conditions") or []:
            if condition["type"] == "ScalingActive" and condition["status"] == "False":
                fix = "install the metrics server; until then the number of servers stays"
                return warn("autoscaler", condition["message"], fix)
    return ok("autoscaler", "gets figures")


def volumes(subject: ClusterSubject) -> list[Finding]:
    """Look whether claims have a volume, and how full it is: the kubelets know."""
    unbound = [
        f"{one['metadata']['name']} is {one['status'].get('phase', 'new')}"
        for one in subject.claims
        if one["status"].get("phase") != "Bound"
    ]
    if unbound:
        return [fail("volumes", "; ".join(unbound), "`kubectl describe pvc` says why")]
    if not subject.claims:
        return [skip("volumes", "no claim")]
    fills = subject.fills()
    if fills is None:
        seen = f"{len(subject.claims)} are bound; the user may not ask the nodes how full they are"
        return [ok("volumes", seen)]
    return [fill(name, used, capacity) for name, (used, capacity) in sorted(fills.items())]


def fill(claim: str, used: int, capacity: int) -> Finding:
    """Look at the bytes in one volume."""
    share = used / capacity if capacity else 0.0
    name, seen = f"volume {claim}", f"{table.size(used)} of {table.size(capacity)}, {share:.0%}"
    if share >= FULL:
        return fail(name, seen, "enlarge the claim, or delete what is not needed")
    return warn(name, seen, "enlarge the claim") if share >= NEARLY else ok(name, seen)


def certificates(subject: ClusterSubject, now: datetime | None = None) -> list[Finding]:
    """Look when the certificates end that clients see."""
    now = now or datetime.now(UTC)
    names = {
        one["secretName"]
        for ingress in subject.objects
        if ingress["kind"] == "Ingress"
        for one in ingress["spec"].get("tls") or []
    }
    if not names:
        return [skip("certificates", "no Ingress of the namespace has one")]
    return [
        certificate(name, subject.secret(name).get("tls.crt", ""), now) for name in sorted(names)
    ]


def certificate(secret: str, encoded: str, now: datetime) -> Finding:
    """Look at one certificate, as a Secret has it."""
    name = f"certificate {secret}"
    try:
        leaf, *_ = x509.load_pem_x509_certificates(base64.b64decode(encoded))
    except ValueError as error:
        return fail(name, f"tls.crt is none ({error})", f"a Secret of the type {TLS} has it")
    ends = leaf.not_valid_after_utc
    if ends < now:
        return fail(name, f"ended {ends:%Y-%m-%d}", "renew it; cert-manager does so by itself")
    if ends - now < SOON:
        return warn(name, f"ends {ends:%Y-%m-%d}", "renew it; cert-manager does so by itself")
    return ok(name, f"until {ends:%Y-%m-%d}")


def nodes(found: Sequence[Mapping[str, Any]] | None) -> Finding:
    """Look whether every node is ready and has room; None if the user may not see nodes."""
    if found is None:
        return skip("nodes", "the user of the context may not see them")
    bad = [
        f"{one['metadata']['name']}: {condition['type']} is {condition['status']} ({condition.get('reason', '')})"
        for one in found
        for condition in one["status"].get("conditions") or []
        if (condition["type"] == "Ready") != (condition["status"] == "True")
    ]
    if bad:
        return fail("nodes", "; ".join(bad), "`kubectl describe node` says more")
    versions = sorted({one["status"]["nodeInfo"]["kubeletVersion"] for one in found})
    return ok("nodes", f"{len(found)} ready, {', '.join(versions)}")
