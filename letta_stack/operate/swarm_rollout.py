"""`inv deploy` and `inv rollback` on a swarm, which itself starts each new server before the old one ends, and takes back what does not become healthy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, lock
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.errors import (
    CommandFailed,
    DeployFailed,
    DeployRefused,
    NothingToRollBack,
    RolloutFailed,
)
from letta_stack.image.sources import Sources
from letta_stack.operate import backup as backups
from letta_stack.operate import deploy as deployment
from letta_stack.operate import dump, plan
from letta_stack.operate.holders.in_swarm import InSwarm
from letta_stack.topology import clustered, running, swarm_checks, swarm_lifecycle, swarm_state
from letta_stack.topology.catalogue import MIGRATION, SERVER
from letta_stack.topology.deployed import IMAGE_VARIABLE
from letta_stack.topology.runners.protocol import summarise
from letta_stack.topology.runners.swarm import Swarm, bare, image_of, update_of
from letta_stack.topology.swarm_lifecycle import CHOICES, EARLIER
from letta_stack.topology.swarm_state import READY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.operate.deploy import Order
    from letta_stack.operate.plan import Migration
    from letta_stack.topology.clustered import Clustered

TAKEN_BACK = {"rollback_completed", "rollback_paused", ""}
FINISHED = {*TAKEN_BACK, "completed"}


def deploy(cluster: Clustered, order: Order) -> None:
    """Bring another image, or other settings, to running servers; without success they run what they ran before.

    Args:
        cluster: the stack.
        order: what the operator asked for.

    Raises:
        DeployFailed: the new servers do not become healthy.
        DeployRefused: nobody knows with which choices the present ones were started, or the database does not fit.
        HostUnreachable: the database is on a host whose engine nobody knows.
        NotRunning: there are no servers.

    """
    with lock.held(cluster.name):
        mine = _reach(cluster)
        before = mine.services()
        given = (before[SERVER]["Spec"].get("Labels") or {}).get(CHOICES)
        if given is None:
            raise DeployRefused(
                f"`inv up` did not start {cluster.name}, so its flags are unknown; `docker service update --image` changes what "
                "was deployed by hand, or let `inv up` take it over"
            )
        cluster = clustered.with_choice(cluster, **json.loads(given))
        sources = Sources.of(images="auto", otelcol="auto", letta_source="", ca="")
        named = {IMAGE_VARIABLE: image} if (image := deployment.wanted(order)) else {}
        ready = swarm_lifecycle.prepare(cluster, sources, variables=named)
        present, wanted = image_of(before[SERVER]), str(ready.model["services"][SERVER]["image"])
        console.say(f"image      {present} -> {wanted}")
        needed = migration(holder := InSwarm(cluster), wanted)
        console.say(f"replicas   {ready.expected[SERVER]}, one after another")
        console.say(plan.described(needed))
        if not order.maintenance:
            plan.refuse_breaking(needed)
        if order.dry_run:
            return
        if order.backup:
            backups.before(cluster, reason=f"before {wanted}")
        try:
            if needed.breaking:
                holder.stop()
            swarm_lifecycle.apply(ready)
        except RolloutFailed as error:
            undo(mine, before)
            raise DeployFailed(f"{error}; the servers run {present} again") from error
        console.result(f"{cluster.name} runs {wanted}")


def migration(holder: InSwarm, image: str) -> Migration:
    """Find what is between the schema and an image of this engine. Raises ``DeployRefused`` and what ``postgres`` raises."""
    revision = str(dump.facts(holder.postgres())["revision"] or "")
    try:
        rows = plan.migrations_of(image)
    except CommandFailed as error:
        raise DeployRefused(
            f"the migrations of {image} cannot be read here ({error.last_line}); bring the image to this engine: `docker pull {image}`"
        ) from error
    return plan.migration(revision, rows)


def rollback(cluster: Clustered, *, dry_run: bool) -> None:
    """Give the servers the image from before the present one. Raises ``NothingToRollBack`` and what ``deploy`` raises."""
    with lock.held(cluster.name):
        mine = _reach(cluster)
        before = mine.services()
        present = image_of(before[SERVER])
        earlier = (before[SERVER]["Spec"].get("Labels") or {}).get(EARLIER, "")
        if not earlier:
            raise NothingToRollBack(
                f"{cluster.name} ran no other image that the swarm knows; name one: inv deploy {cluster.flags} --image REF"
            )
        console.say(f"image      {present} -> {earlier}")
        migration(InSwarm(cluster), earlier)
        if dry_run:
            return
        expected = {SERVER: mine.wanted(0)[SERVER]}
        failed = mine.failures()
        mine.change(SERVER, f"--image={earlier}", f"--label-add={EARLIER}={present}")
        try:
            with Progress(
                f"replacing servers of {cluster.name}",
                detail=lambda: summarise(mine.states(), expected),
            ):
                swarm_state.wait(mine, expected, frozenset(), failed)
        except RolloutFailed as error:
            undo(mine, before)
            raise DeployFailed(f"{error}; the servers run {present} again") from error
        console.result(f"{cluster.name} runs {earlier}")


def undo(mine: Swarm, before: Mapping[str, Mapping[str, Any]]) -> None:
    """Give every service that was changed what it ran before, as far as the swarm has not begun with that, and wait for it.

    The migration is not among them: what it did is done, and servers of the image from before know it.
    """
    for name, one in mine.services().items():
        changed = name in before and _template(one) != _template(before[name])
        if changed and name != MIGRATION.name and not update_of(one).startswith("rollback"):
            mine.undo(name)
    with Progress(f"taking back what was changed of {mine.name}"):
        wait_until(
            lambda: all(state in FINISHED for state in mine.updates().values()),
            timeout=READY_SECONDS,
            interval=1.0,
            describe=lambda: f"not taken back: {mine.updates()}",
        )
    # A swarm takes back to the state before, which for a maintenance window is none.
    count = before[SERVER]["Spec"]["Mode"]["Replicated"]["Replicas"]
    if mine.wanted(0)[SERVER] != count:
        mine.scale(SERVER, count)


def _template(service: Mapping[str, Any]) -> object:
    return bare(service["Spec"]["TaskTemplate"])


def _reach(cluster: Clustered) -> Swarm:
    swarm_checks.require_manager()
    mine = Swarm(cluster.name)
    running.require(cluster, mine.states())
    return mine
