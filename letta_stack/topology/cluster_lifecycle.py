"""`inv up`, `inv down` and what is between, for a topology on a Kubernetes cluster."""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, lock, process
from letta_stack.base.progress import Progress
from letta_stack.engine import inspect
from letta_stack.errors import CommandFailed, RolloutFailed
from letta_stack.secrets.store import Store
from letta_stack.topology import cluster_checks, cluster_pull, cluster_quota, running, trial_cluster
from letta_stack.topology.catalogue import GATEWAY, GATEWAY_HEALTH_PATH, SERVER
from letta_stack.topology.cluster_state import migrated, overview, rolled_out, wait
from letta_stack.topology.lifecycle import confirm
from letta_stack.topology.render import choices, files
from letta_stack.topology.render.kubernetes import manifests
from letta_stack.topology.render.kubernetes.network import HTTP
from letta_stack.topology.render.kubernetes.objects import Object, make
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
CHOICES = "letta-stack/choices"
"""An annotation of the servers: the flags with which `inv up` started them, as JSON."""
EMPTY: Mapping[str, str] = MappingProxyType({})


def runner(cluster: Clustered) -> Kubernetes:
    """Return what handles the objects of a namespace."""
    context = cluster.given.get("context", "")
    return Kubernetes(cluster.name, context, trial=context == trial_cluster.CONTEXT)


@dataclass(frozen=True)
class Prepared:
    """What is ready to be applied: the cluster was asked for everything that it needs."""

    cluster: Clustered
    mine: Kubernetes
    context: str
    model: Mapping[str, Any]
    made: Manifests
    images: Mapping[str, str]  # what the cluster for trials must have, by its name there

    @property
    def trial(self) -> bool:
        """Whether the database is the one for trials."""
        return self.cluster.given.get("database") == TRIAL


def up(cluster: Clustered, sources: Sources, *, yes: bool) -> None:
    """Check, apply, and return when every pod does its work and the API answers.

    Args:
        cluster: the topology, its namespace and the user's choices.
        sources: where images come from, for the cluster of `inv cluster.up`.
        yes: whether the user means a context that looks like production.

    """
    with lock.held(cluster.name):
        prepared = prepare(cluster, sources, yes=yes)
        apply(prepared)
        console.result(_success(prepared))


def prepare(
    cluster: Clustered, sources: Sources, *, yes: bool, variables: Mapping[str, str] = EMPTY
) -> Prepared:
    """Make the objects, and check that the cluster takes them; ``variables`` are for the model. Nothing is applied."""
    options = choices.kubernetes(cluster.name, cluster.given)
    mine = runner(cluster)
    context = cluster_checks.context(mine, yes=yes)
    cluster_checks.version(mine)
    variables = dict(variables)
    if mine.trial:
        engine = inspect.require()
        image = cluster.model(variables)["services"][SERVER]["image"]
        variables |= sources.prepare(cluster.topology.images, engine, server=image)
    model = cluster.model(variables)
    images = _named(model) if mine.trial else {}
    made = manifests.render(model, files.read(model), options)
    remember(made, cluster.given)
    if not cluster_checks.may_change_namespace(mine):
        made.first = [one for one in made.first if one["kind"] != "Namespace"]
        console.say(
            f"the namespace {mine.namespace} is not yours: its Pod Security level stays as it is"
        )
    cluster_checks.kinds(mine, made.all)
    cluster_checks.rights(mine, made.all)
    cluster_checks.storage(mine, options.storage_class, made.all)
    cluster_checks.secret(mine, made, options)
    cluster_quota.check(mine, made.all)
    return Prepared(cluster, mine, context, model, made, images)


def apply(one: Prepared) -> None:
    """Apply what was prepared, once the API server has tried it, and wait until all of it is ready."""
    if one.mine.trial:
        trial_cluster.load(one.images)
    # Nothing can be tried in a namespace that is not there.
    one.mine.apply([each for each in one.made.first if each["kind"] == "Namespace"])
    cluster_checks.answers(one.mine, one.made.all)
    if not one.mine.trial:
        cluster_pull.check(one.mine, one.made.all)
    console.say(
        f"{len(one.made.notes)} values of the model have no counterpart on Kubernetes: "
        f"`inv render {one.cluster.flags} --out DIR` lists them"
    )
    one.mine.apply(_secrets(one.cluster, one.model, one.made, trial=one.trial))
    start(one.mine, one.made)
    answer(one.mine)


def remember(made: Manifests, given: Mapping[str, str]) -> None:
    """Write the operator's choices down at the servers: a deployment of another image repeats them."""
    kept = {name: value for name, value in given.items() if value and name != "context"}
    for one in made.then:
        if one["kind"] == "Deployment" and one["metadata"]["name"] == SERVER:
            one["metadata"]["annotations"] = {CHOICES: json.dumps(kept, sort_keys=True)}


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
            jobs = [one["metadata"]["name"] for one in made.first if one["kind"] == "Job"]
            # One that could not start would be taken for a failure of this one.
            mine.delete_jobs(but=jobs)
            mine.apply(made.first)
            wait(mine, partial(migrated, mine, jobs), MIGRATION_SECONDS)
            mine.apply(made.then)
            wait(mine, partial(rolled_out, mine), READY_SECONDS)
        except CommandFailed as error:
            raise RolloutFailed(
                f"kubectl could not apply the objects: {error.last_line}"
            ) from error


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


def _success(one: Prepared) -> str:
    forward = one.mine.argv("port-forward", f"service/{GATEWAY.name}", f"8283:{HTTP}")
    lines = [
        f"{one.cluster.name} is up on {one.context}; the API on this machine:",
        f"  {shlex.join(forward)}",
    ]
    if one.trial:
        lines.append(f"password: {Store.of(one.cluster.name).path('server-password')}")
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
