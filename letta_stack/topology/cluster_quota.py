"""Whether a namespace has room for what will be applied: its ResourceQuotas and LimitRanges, asked before anything is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, process
from letta_stack.errors import QuotaTooSmall
from letta_stack.topology import cluster_needs
from letta_stack.topology.cluster_needs import quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

    from letta_stack.topology.cluster_needs import Amounts
    from letta_stack.topology.runners.kubernetes import Kubernetes

    Object = Mapping[str, Any]

OURS = {"NotTerminating", "NotBestEffort"}
"""The scopes of quotas in which the pods of this project are; one with another scope is not about them."""
SHORT = {"cpu": "requests.cpu", "memory": "requests.memory"}


def check(runner: Kubernetes, objects: Iterable[Object]) -> None:
    """Raise ``QuotaTooSmall`` if a pod or a volume would be refused, or not be made."""
    asked = process.probe(runner.argv("get", "resourcequotas,limitranges", "--output", "json"))
    if not asked.ok:
        console.say(
            "the user of the context may not see quotas; one that is too small would show as pods that are missing"
        )
        return
    found = json.loads(asked.stdout)["items"]
    limits = [
        limit for one in found if one["kind"] == "LimitRange" for limit in one["spec"]["limits"]
    ]
    objects = list(objects)
    pods = [
        (name, count, _with_defaults(pod, limits))
        for name, count, pod in cluster_needs.pods(objects)
    ]
    for limit in limits:
        for what, amounts in _limited(limit, pods, objects):
            _within(runner.namespace, limit, what, amounts)
    quotas = [one for one in found if one["kind"] == "ResourceQuota" and _is_about_us(one)]
    if quotas:
        more = _more(runner, pods, objects)
        for one in quotas:
            _leaves(runner.namespace, one, pods, more)


def _with_defaults(pod: Object, limits: Iterable[Object]) -> Object:
    """Return a pod as the API server writes it: a limit range gives what a container does not say."""
    defaults = [limit for limit in limits if limit["type"] == "Container"]
    containers = []
    for container in pod["containers"]:
        own = container.get("resources") or {}
        most, least = dict(own.get("limits") or {}), dict(own.get("requests") or {})
        for limit in defaults:
            most = {**(limit.get("default") or {}), **most}
            least = {**(limit.get("defaultRequest") or {}), **least}
        containers.append(
            {
                "name": container["name"],
                "resources": {"limits": most, "requests": {**most, **least}},
            }
        )
    return {**pod, "containers": containers}


def _limited(
    limit: Object, pods: Sequence[tuple[str, int, Object]], objects: Iterable[Object]
) -> Iterable[tuple[str, Amounts]]:
    """Yield what a limit is about, with what each takes, as ``limits.cpu``."""
    kind = limit["type"]
    if kind == "PersistentVolumeClaim":
        for name, spec in cluster_needs.claims(objects):
            size = cluster_needs.of_claims([spec])["requests.storage"]
            yield f"the volume {name}", {"limits.storage": size, "requests.storage": size}
    for name, _, pod in pods:
        if kind == "Container":
            for container in pod["containers"]:
                yield name, cluster_needs.of_pods([(1, {"containers": [container]})])
        elif kind == "Pod":
            yield f"a pod of {name}", cluster_needs.of_pods([(1, pod)])


def _within(namespace: str, limit: Object, what: str, amounts: Amounts) -> None:
    def refuse(name: str, says: str) -> None:
        raise QuotaTooSmall(
            f"{what} takes {name}={_text(amounts.get(name))}, and a limit range of {namespace} {says}; have it changed, or the "
            "resources in an override file"
        )

    for name, most in (limit.get("max") or {}).items():
        has = amounts.get(f"limits.{name}")
        if has is None or has > quantity(most):
            refuse(f"limits.{name}", f"allows {most}")
    for name, least in (limit.get("min") or {}).items():
        has = amounts.get(f"requests.{name}")
        if has is None or has < quantity(least):
            refuse(f"requests.{name}", f"asks for {least}")
    for name, ratio in (limit.get("maxLimitRequestRatio") or {}).items():
        has, asked = amounts.get(f"limits.{name}"), amounts.get(f"requests.{name}")
        if not has or not asked or has / asked > quantity(ratio):
            refuse(f"limits.{name}", f"allows {ratio} times the request of {_text(asked)}")


def _is_about_us(quota: Object) -> bool:
    spec = quota["spec"]
    return set(spec.get("scopes") or []) <= OURS and not spec.get("scopeSelector")


def _more(
    runner: Kubernetes, pods: Sequence[tuple[str, int, Object]], objects: Sequence[Object]
) -> Amounts:
    """Return what will be there at the peak of the update, less what this project has there now."""
    kinds = {one["kind"] for one in objects} & set(cluster_needs.KINDS)
    names = [cluster_needs.KINDS[kind] for kind in sorted(kinds)]
    there = runner.mine(",".join(["pods", *names]))
    known = {(one["kind"], one["metadata"]["name"]) for one in there}
    now = cluster_needs.running(one for one in there if one["kind"] == "Pod")
    peak = cluster_needs.of_pods((count, pod) for _, count, pod in pods)
    more = {name: amount - now.get(name, 0) for name, amount in peak.items()}
    volumes = [
        spec
        for name, spec in cluster_needs.claims(objects)
        if ("PersistentVolumeClaim", name) not in known
    ]
    more |= cluster_needs.of_claims(volumes)
    for kind in kinds - {"PersistentVolumeClaim"}:
        new = [one for one in objects if one["kind"] == kind]
        new = [one for one in new if (kind, one["metadata"]["name"]) not in known]
        more[cluster_needs.KINDS[kind]] = quantity(len(new))
    return more


def _leaves(
    namespace: str, quota: Object, pods: Sequence[tuple[str, int, Object]], more: Amounts
) -> None:
    """Raise ``QuotaTooSmall`` if a quota does not leave what is still needed, or wants to be told what is not said."""
    name, status = quota["metadata"]["name"], quota.get("status") or {}
    hard, used = quota["spec"].get("hard") or {}, status.get("used") or {}
    for given, most in hard.items():
        resource = SHORT.get(given, given.removeprefix("count/"))
        if resource.startswith(("limits.", "requests.")):
            _said(namespace, name, resource, pods)
        free = max(quantity(most) - quantity(used.get(given, 0)), quantity(0))
        if resource in more and more[resource] > free:
            raise QuotaTooSmall(
                f"the quota {name} of {namespace} leaves {_text(free)} of {given}, and {_text(more[resource])} "
                "more are needed, one more pod of each kind during an update included; have it raised, or lower --replicas "
                "or the resources in an override file"
            )


def _said(
    namespace: str, quota: str, resource: str, pods: Iterable[tuple[str, int, Object]]
) -> None:
    """Raise ``QuotaTooSmall`` for a container that does not say what a quota counts: its pod would be refused."""
    side, _, name = resource.partition(".")
    if name not in SHORT:
        return
    for service, _, pod in pods:
        if any(name not in container["resources"][side] for container in pod["containers"]):
            raise QuotaTooSmall(
                f"the quota {quota} of {namespace} counts {resource}, and {service} has none; give it one in an override file, or "
                "the namespace a LimitRange with defaults"
            )


def _text(amount: Decimal | None) -> str:
    """Write an amount as people do: memory in the largest unit that leaves a number of few digits."""
    if amount is None:
        return "none"
    for unit in ("Gi", "Mi"):
        size = cluster_needs.SUFFIXES[unit]
        if amount >= size:
            return f"{float(amount / size):.4g}{unit}"
    return f"{float(amount):.12g}"
