"""Checks of a swarm: its hosts, who manages them, where the volumes are, and what the swarm started again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import HostUnreachable, LettaStackError, NotRunning
from letta_stack.operate import store
from letta_stack.operate.doctor import data, inside
from letta_stack.operate.doctor.model import Finding, fail, ok, warn
from letta_stack.operate.holders.in_swarm import InSwarm
from letta_stack.topology import swarm_checks
from letta_stack.topology.catalogue import GATEWAY, GATEWAY_HEALTH_PATH, SERVER
from letta_stack.topology.render.swarm.services import DATA_LABEL
from letta_stack.topology.runners.swarm import Swarm
from letta_stack.topology.swarm_state import ROLLED_BACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.swarm_checks import Host

ENOUGH = 3  # managers, of which one may be lost


def hosts(known: Sequence[Host]) -> Finding:
    """Look whether every host takes tasks."""
    lost = [one.name for one in known if not one.takes]
    if lost:
        seen = f"{', '.join(lost)} of {len(known)} take no tasks"
        return warn(
            "hosts",
            seen,
            "start the engine there, or `docker node update --availability active HOST`",
        )
    return ok("hosts", f"{len(known)} take tasks")


def managers(known: Sequence[Host]) -> Finding:
    """Look whether the swarm can still be changed when a manager is lost."""
    found = [one for one in known if one.manager]
    silent = [one.name for one in found if one.manager != "reachable"]
    if silent:
        fix = "start the engine there, or `docker node demote HOST`"
        return warn("managers", f"{', '.join(silent)} of {len(found)} do not answer", fix)
    if len(known) > 1 and (len(found) < ENOUGH or len(found) % 2 == 0):
        fix = "`docker node promote HOST` until there are three or five: more than half of them must answer"
        return warn("managers", f"{len(found)}: the loss of one may leave nobody who manages", fix)
    return ok("managers", f"{len(found)} answer")


def volumes(known: Sequence[Host]) -> Finding:
    """Look whether the one host with the volumes is there."""
    labelled = [one for one in known if one.data]
    names = ", ".join(one.name for one in labelled) or "no host"
    if len(labelled) != 1:
        fix = f"`docker node update --label-add {DATA_LABEL}=true HOST` (or --label-rm {DATA_LABEL}) until it is one"
        return fail("volumes", f"{names} has the label {DATA_LABEL}", fix)
    if not labelled[0].takes:
        return fail("volumes", f"{names} has them and takes no tasks", "see the check of the hosts")
    return ok("volumes", f"{names} has them")


def services(cluster: Clustered, mine: Swarm, known: Sequence[Host]) -> Finding:
    """Look whether as many tasks as there should be do their work, and whether the swarm took an update back."""
    wanted = mine.wanted(sum(one.takes for one in known))
    if not wanted:
        return fail("services", "none", f"start them: `inv up {cluster.flags}`")
    once = cluster.topology.one_shots
    done = [
        one.service
        for one in mine.states()
        if one.ready or (one.service in once and one.ended_well)
    ]
    missing = [
        f"{name} {done.count(name)} of {count}"
        for name, count in wanted.items()
        if done.count(name) < count
    ]
    missing += [f"{name} missing" for name in sorted(set(cluster.topology.names) - set(wanted))]
    if missing:
        fix = f"`docker stack ps {mine.name} --no-trunc` says why; then `inv up {cluster.flags}`"
        return fail("services", ", ".join(missing), fix)
    if back := [name for name, state in mine.updates().items() if state in ROLLED_BACK]:
        seen = f"the last update of {', '.join(back)} was taken back"
        return warn("services", seen, f"`docker stack ps {mine.name} --no-trunc` says why")
    return ok("services", f"{len(done)} tasks do their work")


def failures(mine: Swarm) -> Finding:
    """Look which tasks ended and were started again, as far back as the swarm remembers: five of each."""
    failed = list(mine.failures().values())
    if not failed:
        return ok("restarts", "the swarm remembers no task that failed")
    seen = ", ".join(f"{failed.count(name)} of {name} failed" for name in sorted(set(failed)))
    return warn("restarts", seen, f"`docker stack ps {mine.name} --no-trunc` says when and why")


def api(mine: Swarm) -> Finding:
    """Ask a gateway in its own container whether it has a server."""
    try:
        gateway = mine.task(GATEWAY.name)
    except (HostUnreachable, NotRunning) as error:
        return fail("API", str(error), "see the check of the services")
    (port, *_) = mine.services()[GATEWAY.name]["Spec"]["EndpointSpec"]["Ports"]
    url = f"http://127.0.0.1:{port['TargetPort']}{GATEWAY_HEALTH_PATH}"
    if process.probe(gateway.exec("curl", "--silent", "--fail", url)).ok:
        return ok("API", "a gateway reaches a server")
    return fail("API", "the gateway reaches no server", "see the check of the services")


def database(cluster: Clustered, mine: Swarm) -> list[Finding]:
    """Look at everything that takes a running server and its database."""
    try:
        server = mine.task(SERVER).exec(options=["--interactive"])
        facts, answer = inside.gather(InSwarm(cluster).postgres(), server)
    except (LettaStackError, ValueError) as error:
        seen = f"no answer from inside: {error}"
        return [fail("database", seen, "see the check of the services")]
    return [*inside.general(facts, answer), inside.leftovers(facts, cluster.name)]


def check(cluster: Clustered) -> list[Finding]:
    """Look at the swarm and at the stack on it. Raises ``ClusterUnreachable``."""
    swarm_checks.require_manager()
    known, mine = swarm_checks.hosts(), Swarm(cluster.name)
    return [
        hosts(known),
        managers(known),
        volumes(known),
        services(cluster, mine, known),
        failures(mine),
        api(mine),
        *database(cluster, mine),
        data.kept(cluster, store.directory_of(cluster.name)),
    ]
