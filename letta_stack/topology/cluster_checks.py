"""What a Kubernetes cluster must have before anything is applied to it. Each finding has its own message and exit code."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, process
from letta_stack.errors import (
    ClusterLacks,
    ClusterTooOld,
    ClusterUnreachable,
    CommandFailed,
    ContextUnknown,
    NotExpressible,
    RightsMissing,
)
from letta_stack.topology.render import text
from letta_stack.topology.render.kubernetes.options import OLDEST, TRIAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from letta_stack.topology.render.kubernetes.manifests import Manifests
    from letta_stack.topology.render.kubernetes.options import Options
    from letta_stack.topology.runners.kubernetes import Kubernetes

ANSWER_SECONDS = "10s"
PRODUCTION = re.compile(r"(?i)prod|live")
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
VERBS = ("create", "patch")
NAMESPACED = "Namespace"


def context(runner: Kubernetes, *, yes: bool) -> str:
    """Return the context that is meant.

    Args:
        runner: knows the wanted context, or takes the current one.
        yes: whether the user means a context that looks like production.

    Raises:
        ContextUnknown: it is not there, or looks like production and nobody said that it is meant.

    """
    known = process.capture(runner.argv("config", "get-contexts", "--output", "name")).split()
    current = process.probe(runner.argv("config", "current-context")).stdout.strip()
    wanted = runner.context or current
    if wanted not in known:
        there = ", ".join(known) or "none"
        raise ContextUnknown(
            f"the context {wanted!r} is not in kubectl's configuration; there are: {there}; choose one with --context, or "
            "make a cluster for trials: `inv cluster.up`"
        )
    if PRODUCTION.search(wanted) and not yes:
        raise ContextUnknown(
            f"the context {wanted} looks like production; add --yes if you mean it"
        )
    return wanted


def version(runner: Kubernetes) -> None:
    """Raise ``ClusterUnreachable`` if nobody answers, ``ClusterTooOld`` if its version was never tested."""
    asked = process.probe(
        runner.argv("version", "--output", "json", "--request-timeout", ANSWER_SECONDS)
    )
    server = json.loads(asked.stdout or "{}").get("serverVersion")
    if not server:
        reason = next(reversed(asked.stderr.strip().splitlines()), "no answer")
        raise ClusterUnreachable(f"no cluster answers at the context: {reason}")
    numbers = re.findall(r"\d+", f"{server['major']} {server['minor']}")
    if tuple(map(int, numbers)) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ClusterTooOld(
            f"the cluster is Kubernetes {server['gitVersion']}, tested is {oldest} and newer; upgrade it, or take the objects "
            "as they are: `inv render`"
        )


def kinds(runner: Kubernetes, objects: Iterable[Mapping[str, Any]]) -> None:
    """Raise ``ClusterLacks`` if the cluster does not know a kind of object."""
    known = set(process.capture(runner.argv("api-versions")).split())
    for one in objects:
        if one["apiVersion"] not in known:
            raise ClusterLacks(
                f"the cluster has no {one['apiVersion']}, which {one['kind']} {one['metadata']['name']} is of; install its custom "
                "resource definitions, or leave the flag out that asks for it"
            )


def rights(runner: Kubernetes, objects: Iterable[Mapping[str, Any]]) -> None:
    """Raise ``RightsMissing`` for the first verb on a kind of object that the user of the context may not do."""
    wanted = {
        (resource(one["kind"]), group_of(one["apiVersion"]), verb)
        for one in objects
        for verb in VERBS
    }
    wanted |= {("pods", "", "list"), ("secrets", "", "get")}
    if missing := sorted(wanted - allowed(runner, sorted(wanted))):
        name, group, verb = missing[0]
        qualified = f"{name}.{group}" if group else name
        raise RightsMissing(
            f"the user of the context may not {verb} {qualified} in {runner.namespace}; ask for the right, or for somebody "
            "to apply what `inv render` writes"
        )


def may_change_namespace(runner: Kubernetes) -> bool:
    """Say whether the namespace is missing, or may be changed; somebody else may have made it for its users."""
    if not process.probe(runner.argv("get", "namespace", runner.namespace)).ok:
        return True
    wanted = ("namespaces", "", "patch")
    return wanted in allowed(runner, [wanted])


def allowed(
    runner: Kubernetes, wanted: Iterable[tuple[str, str, str]]
) -> set[tuple[str, str, str]]:
    """Return what the user may do, of ``wanted``: resource, API group and verb. One command asks for all."""
    questions = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {
                "resourceAttributes": {
                    "namespace": runner.namespace,
                    "resource": name,
                    "group": group,
                    "verb": verb,
                }
            },
        }
        for name, group, verb in wanted
    ]
    asked = "{.spec.resourceAttributes"
    row = f"{asked}.resource}},{asked}.group}},{asked}.verb}},{{.status.allowed}}"
    answer = process.probe(
        # Validation would ask for what a plain user may not see.
        runner.argv(
            "create", "--validate=false", "--output", f'jsonpath={row}{{"\\n"}}', "-f", "-"
        ),
        stdin=text.dump(questions),
    )
    rows = [line.split(",") for line in answer.stdout.splitlines()]
    return {(name, group, verb) for name, group, verb, allowed in rows if allowed == "true"}


def resource(kind: str) -> str:
    """Return the name under which the API has a kind."""
    lower = kind.lower()
    return (
        f"{lower[:-1]}ies"
        if lower.endswith("y")
        else f"{lower}es"
        if lower.endswith("s")
        else f"{lower}s"
    )


def group_of(api_version: str) -> str:
    """Return the API group of a version, "" for the first one."""
    return api_version.rpartition("/")[0]


def storage(runner: Kubernetes, wanted: str, objects: Iterable[Mapping[str, Any]]) -> None:
    """Raise ``ClusterLacks`` if volumes are asked for and nobody makes them."""
    asks = any(
        one["kind"] == "PersistentVolumeClaim" or one.get("spec", {}).get("volumeClaimTemplates")
        for one in objects
    )
    if not asks:
        return
    seen = process.probe(runner.argv("get", "storageclasses", "--output", "json"))
    if not seen.ok:
        console.say(
            "the user of the context may not see storage classes; a volume that nobody makes would show as a timeout"
        )
        return
    classes = {
        one["metadata"]["name"]: (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS)
        for one in json.loads(seen.stdout)["items"]
    }
    there = ", ".join(classes) or "none"
    if wanted and wanted not in classes:
        raise ClusterLacks(f"--storage-class {wanted!r}: the cluster has {there}")
    if not wanted and "true" not in classes.values():
        raise ClusterLacks(
            f"the cluster has no default storage class; choose one with --storage-class (there are: {there})"
        )


def secret(runner: Kubernetes, manifests: Manifests, options: Options) -> None:
    """Raise ``ClusterLacks`` if a Secret that the operator brings is missing, or lacks keys."""
    if options.database == TRIAL:
        return
    for name, keys in manifests.secrets.items():
        template = "--output=go-template={{range $key, $_ := .data}}{{$key}} {{end}}"
        found = process.probe(runner.argv("get", "secret", name, template))
        missing = [key for key in keys if key not in found.stdout.split()]
        if missing:
            raise ClusterLacks(
                f"the Secret {name} in {runner.namespace} must have {', '.join(missing)}, see docs/topologies/kubernetes.md; for a "
                "trial with a database and passwords of its own: --database trial"
            )


def answers(runner: Kubernetes, objects: Iterable[Mapping[str, Any]]) -> None:
    """Raise ``NotExpressible`` if the API server itself would refuse an object."""
    try:
        runner.apply(objects, dry_run=True)
    except CommandFailed as error:
        raise NotExpressible(f"the API server refuses an object: {error.last_line}") from error
