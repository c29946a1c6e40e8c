"""`inv deploy` and `inv rollback` on Kubernetes, which itself starts the new servers beside the old ones and keeps the revisions."""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, lock
from letta_stack.base.progress import Progress
from letta_stack.errors import (
    DatabaseElsewhere,
    DeployFailed,
    DeployRefused,
    NodesCannotPull,
    NothingToRollBack,
    RolloutFailed,
)
from letta_stack.image.sources import Sources
from letta_stack.operate import backup as backups
from letta_stack.operate import cluster_plan, plan
from letta_stack.operate import deploy as deployment
from letta_stack.operate.holders.namespaced import Namespaced
from letta_stack.topology import (
    cluster_checks,
    cluster_lifecycle,
    cluster_state,
    clustered,
    running,
    trial_cluster,
)
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.cluster_lifecycle import CHOICES, READY_SECONDS
from letta_stack.topology.deployed import IMAGE_VARIABLE
from letta_stack.topology.render.kubernetes.objects import NAME
from letta_stack.topology.runners.kubernetes import REVISION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from letta_stack.operate.deploy import Order
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.runners.kubernetes import Kubernetes


def deploy(cluster: Clustered, order: Order, *, yes: bool) -> None:
    """Bring another image, or other settings, to running servers; without success they run what they ran before.

    Args:
        cluster: the namespace.
        order: what the operator asked for.
        yes: whether the user means a context that looks like production.

    Raises:
        DeployFailed: the new servers do not become ready.
        DeployRefused: nobody knows with which choices the present ones were started, or the database does not fit.
        NotRunning: there are none.

    """
    with lock.held(cluster.name):
        mine = _reach(cluster, yes=yes)
        present = _server(mine)
        given = present["metadata"].get("annotations", {}).get(CHOICES)
        if not given:
            raise DeployRefused(
                f"`inv up` did not start {cluster.name}, so its flags are unknown; `kubectl set image` changes what was applied by "
                "hand, or let `inv up` take it over"
            )
        cluster = clustered.with_choice(cluster, **json.loads(given))
        sources = Sources.of(images="auto", otelcol="auto", letta_source="", ca="")
        named = {IMAGE_VARIABLE: image} if (image := deployment.wanted(order)) else {}
        ready = cluster_lifecycle.prepare(cluster, sources, yes=yes, variables=named)
        wanted = str(ready.model["services"][SERVER]["image"])
        console.say(f"image      {_image(present)} -> {wanted}")
        if mine.trial:
            trial_cluster.load(ready.images)
        needed = cluster_plan.migration(holder := Namespaced(cluster), present, wanted)
        console.say(f"replicas   {_count(present)}, one after another")
        console.say(plan.described(needed) if needed else "migration  unknown: no server is ready")
        if needed and not order.maintenance:
            plan.refuse_breaking(needed)
        if order.dry_run:
            return
        if order.backup:
            back_up(cluster, wanted)
        before = mine.revisions()
        try:
            with paused(holder, present) if needed and needed.breaking else nullcontext():
                cluster_lifecycle.apply(ready)
        except (RolloutFailed, NodesCannotPull) as error:
            undo(mine, before)
            raise DeployFailed(f"{error}; the servers run {_image(present)} again") from error
        console.result(f"{cluster.name} runs {wanted}")


def back_up(cluster: Clustered, image: str) -> None:
    """Back the database up before an image comes that may change it; one that is elsewhere is left to its own tools."""
    try:
        backups.before(cluster, reason=f"before {image}")
    except DatabaseElsewhere as error:
        console.say(f"backup     none: {error}")


@contextmanager
def paused(holder: Namespaced, present: Mapping[str, Any]) -> Iterator[None]:
    """Let no server run for the block, which brings the database where those of before would not find their way."""
    with Progress("maintenance: the servers end their requests and stop"):
        holder.stop()
    try:
        yield
    finally:
        holder.mine.scale(SERVER, _count(present))
    _wait(holder.mine, cluster_state.rolled_out)


def rollback(cluster: Clustered, *, dry_run: bool, yes: bool) -> None:
    """Give the servers the image from before the present one. Raises ``NothingToRollBack`` and what ``deploy`` raises."""
    with lock.held(cluster.name):
        mine = _reach(cluster, yes=yes)
        present = _server(mine)
        earlier = earlier_revisions(mine.mine("replicasets"), _image(present))
        if not earlier:
            raise NothingToRollBack(
                f"{cluster.name} ran no other image that the cluster knows; name one: inv deploy {cluster.flags} --image REF"
            )
        revision = max(earlier)
        console.say(f"image      {_image(present)} -> {earlier[revision]} (revision {revision})")
        cluster_plan.migration(Namespaced(cluster), present, earlier[revision])
        if dry_run:
            return
        before = mine.revisions()
        try:
            mine.undo(SERVER, str(revision))
            _wait(mine, cluster_state.rolled_out)
        except RolloutFailed as error:
            undo(mine, before)
            raise DeployFailed(f"{error}; the servers run {_image(present)} again") from error
        console.result(f"{cluster.name} runs {earlier[revision]}")


def earlier_revisions(sets: list[dict[str, Any]], image: str) -> dict[int, str]:
    """Return the images other than ``image`` of the servers' ReplicaSets, by their revision."""
    servers = [one for one in sets if one["metadata"]["labels"][NAME] == SERVER]
    found = {int(one["metadata"]["annotations"][REVISION]): _image(one) for one in servers}
    return {revision: other for revision, other in found.items() if other != image}


def undo(mine: Kubernetes, before: Mapping[str, str]) -> None:
    """Bring every Deployment back to the revision that it had, and wait for it."""
    for name, revision in mine.revisions().items():
        if before.get(name, revision) != revision:
            mine.undo(name, before[name])
    _wait(mine, cluster_state.restored)


def _wait(mine: Kubernetes, reached: Callable[[Kubernetes], bool]) -> None:
    with Progress(
        f"replacing servers of {mine.namespace}", detail=partial(cluster_state.overview, mine)
    ):
        cluster_state.wait(mine, partial(reached, mine), READY_SECONDS)


def _reach(cluster: Clustered, *, yes: bool) -> Kubernetes:
    mine = cluster_lifecycle.runner(cluster)
    cluster_checks.context(mine, yes=yes)
    cluster_checks.version(mine)
    running.require(cluster, mine.states())
    return mine


def _server(mine: Kubernetes) -> dict[str, Any]:
    (found,) = mine.get(f"deployment/{SERVER}")
    return found


def _count(workload: Mapping[str, Any]) -> int:
    return int(workload["spec"].get("replicas", 1))


def _image(workload: Mapping[str, Any]) -> str:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return str(container["image"])
