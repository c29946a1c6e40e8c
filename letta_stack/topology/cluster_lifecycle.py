"""`inv up`, `inv down` and what is between, for a topology on a Kubernetes cluster."""

from __future__ import annotations

import base64
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, lock, process
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.engine import inspect
from letta_stack.errors import (
    CommandFailed,
    NodesCannotPull,
    RolloutFailed,
    WaitTimedOut,
)
from letta_stack.secrets.store import Store
from letta_stack.topology import cluster_checks, running, trial_cluster
from letta_stack.topology.catalogue import GATEWAY, GATEWAY_HEALTH_PATH, SERVER
from letta_stack.topology.lifecycle import confirm
from letta_stack.topology.render import choices, files
from letta_stack.topology.render.kubernetes import manifests
from letta_stack.topology.render.kubernetes.network import HTTP
from letta_stack.topology.render.kubernetes.objects import Object, make, namespace
from letta_stack.topology.render.kubernetes.options import TRIAL
from letta_stack.topology.runners.kubernetes import Kubernetes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.image.sources import Sources
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.render.kubernetes.manifests import Manifests

MIGRATION_SECONDS = 3600.0
READY_SECONDS = 900.0
ANSWER_SECONDS = 60.0
CANNOT_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
CANNOT_START = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
MOST_RESTARTS = 3


def runner(cluster: Clustered) -> Kubernetes:
    """Return what handles the objects of a namespace."""
    context = cluster.given.get("context", "")
    return Kubernetes(cluster.name, context, trial=context == trial_cluster.CONTEXT)


def up(cluster: Clustered, sources: Sources, *, yes: bool) -> None:
    """Check, apply, and return when every pod does its work and the API answers.

    Args:
        cluster: the topology, its namespace and the user's choices.
        sources: where images come from, for the cluster of `inv cluster.up`.
        yes: whether the user means a context that looks like production.

    """
    with lock.held(cluster.name):
        _up(cluster, sources, yes=yes)


def _up(cluster: Clustered, sources: Sources, *, yes: bool) -> None:
    options = choices.kubernetes(cluster.name, cluster.given)
    mine = runner(cluster)
    context = cluster_checks.context(mine, yes=yes)
    cluster_checks.version(mine)
    variables: dict[str, str] = {}
    if mine.trial:
        engine = inspect.require()
        image = cluster.model()["services"][SERVER]["image"]
        variables = sources.prepare(cluster.topology.images, engine, server=image)
    model = cluster.model(variables)
    images = _named(model) if mine.trial else {}
    made = manifests.render(model, files.read(model), options)
    cluster_checks.kinds(mine, made.all)
    cluster_checks.rights(mine, made.all)
    cluster_checks.storage(mine, options.storage_class, made.all)
    cluster_checks.secret(mine, made, options)
    if mine.trial:
        trial_cluster.load(images)
    # Nothing can be tried in a namespace that is not there.
    mine.apply([namespace(options.namespace)])
    cluster_checks.answers(mine, made.all)
    console.say(
        f"{len(made.notes)} values of the model have no counterpart on Kubernetes: `inv render {cluster.flags} --out DIR` lists them"
    )
    mine.apply(_secrets(cluster, model, made, trial=options.database == TRIAL))
    start(mine, made)
    answer(mine)
    console.result(_success(cluster, context, trial=options.database == TRIAL))


def _named(model: Mapping[str, Any]) -> dict[str, str]:
    """Give every image of a model its name in the cluster for trials; return the engine's by that."""
    named = {}
    for service in model["services"].values():
        name = trial_cluster.name_of(service["image"])
        named[name] = service["image"]
        service["image"] = name
    return named


def start(mine: Kubernetes, made: Manifests) -> None:
    """Apply what the migration needs, wait for its end, apply the rest and wait until all of it is ready."""
    with Progress(f"starting {mine.namespace}", detail=lambda: overview(mine)):
        try:
            mine.apply(made.first)
            jobs = [one["metadata"]["name"] for one in made.first if one["kind"] == "Job"]
            wait(mine, partial(migrated, mine, jobs), MIGRATION_SECONDS)
            mine.apply(made.then)
            wait(mine, partial(rolled_out, mine), READY_SECONDS)
        except CommandFailed as error:
            raise RolloutFailed(
                f"kubectl could not apply the objects: {error.last_line}"
            ) from error


def wait(mine: Kubernetes, reached: Any, timeout: float) -> None:
    """Wait until something is reached; raise ``RolloutFailed`` if it is not."""
    try:
        wait_until(reached, timeout=timeout, interval=1.0, describe="")
    except WaitTimedOut as error:
        raise RolloutFailed(f"not ready after {timeout:g} s: {overview(mine)}") from error


def migrated(mine: Kubernetes, jobs: Sequence[str]) -> bool:
    """Say whether the migration has ended; raise ``RolloutFailed`` if it failed."""
    refuse_broken(mine)
    found = {one["metadata"]["name"]: one["status"] for one in mine.mine("jobs")}
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
    refuse_broken(mine)
    return all(_complete(one) for one in mine.mine("deployments,statefulsets"))


def _complete(one: Mapping[str, Any]) -> bool:
    status, name = one["status"], one["metadata"]["name"]
    for condition in status.get("conditions") or []:
        stuck = condition["type"] == "Progressing" and condition["status"] == "False"
        refused = condition["type"] == "ReplicaFailure" and condition["status"] == "True"
        if stuck or refused:
            raise RolloutFailed(f"{name}: {condition['message']}; what ran before serves on")
    wanted = one["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= one["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("readyReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
    )


def refuse_broken(mine: Kubernetes) -> None:
    """Raise for a pod that no waiting brings up."""
    for pod in mine.mine("pods"):
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
    """Say how far each pod is."""
    return ", ".join(dict.fromkeys(map(str, mine.states())))


def answer(mine: Kubernetes) -> None:
    """Wait until the gateway answers, asked through the API server; raise ``RolloutFailed``."""
    service = f"/api/v1/namespaces/{mine.namespace}/services/{GATEWAY.name}:{HTTP}/proxy"
    command = mine.argv("get", "--raw", service + GATEWAY_HEALTH_PATH)
    wait(mine, lambda: process.probe(command).ok, ANSWER_SECONDS)


def _secrets(
    cluster: Clustered, model: Mapping[str, Any], made: Manifests, *, trial: bool
) -> list[Object]:
    """Return the Secrets with their values. They go to kubectl's standard input, and nowhere else."""
    objects = [
        make("v1", "Secret", cluster.name, name, stringData=variables)
        for name, variables in made.variables.items()
    ]
    if trial:
        store = Store.of(cluster.name)
        data = "db-letta-db-0" if "db-letta-db-0" in runner(cluster).volumes() else ""
        store.ensure(data=data)
        for name, keys in made.secrets.items():
            content = {
                key: base64.b64encode(Path(model["secrets"][key]["file"]).read_bytes()).decode()
                for key in keys
            }
            objects.append(make("v1", "Secret", cluster.name, name, data=content))
    return objects


def _success(cluster: Clustered, context: str, *, trial: bool) -> str:
    mine = runner(cluster)
    forward = mine.argv("port-forward", f"service/{GATEWAY.name}", f"8283:{HTTP}")
    lines = [
        f"{cluster.name} is up on {context}; the API on this machine:",
        f"  {shlex.join(forward)}",
    ]
    if trial:
        lines.append(f"password: {Store.of(cluster.name).path('server-password')}")
    return "\n".join(lines)


def down(cluster: Clustered, *, volumes: bool, yes: bool) -> None:
    """Remove the objects; with ``volumes`` also the data, once that is confirmed."""
    mine = runner(cluster)
    if volumes and not yes:
        confirm(
            f"delete the namespace {cluster.name} with the data in {', '.join(mine.volumes()) or 'no volume'}?"
        )
    mine.down(volumes=volumes)


def ps(cluster: Clustered) -> int:
    """Show the pods; return the exit code."""
    return runner(cluster).ps()


def logs(cluster: Clustered, *, service: str, tail: int, follow: bool) -> int:
    """Show the logs; return the exit code."""
    return runner(cluster).logs(service=service, tail=tail, follow=follow)


def execute(cluster: Clustered, *, service: str, command: Sequence[str]) -> int:
    """Run a command in a service; return its exit code."""
    running.require_command(command)
    mine = runner(cluster)
    running.require(cluster, mine.states())
    return mine.execute(service or SERVER, command)


def restart(cluster: Clustered, *, service: str) -> None:
    """Replace the pods of a service, or of all, and wait until all are ready."""
    running.require_service(cluster, service)
    mine = runner(cluster)
    running.require(cluster, mine.states())
    mine.restart(service)
    with Progress(f"waiting for {cluster.name}", detail=lambda: overview(mine)):
        wait(mine, partial(rolled_out, mine), READY_SECONDS)
