"""`inv doctor --env kubernetes`: what has a meaning in a namespace, asked of the API server and of the pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import DatabaseElsewhere, LettaStackError
from letta_stack.image import contract
from letta_stack.operate import cluster_plan, store
from letta_stack.operate.doctor import data, host, inside, objects, run
from letta_stack.operate.doctor.model import ClusterSubject, Finding, fail, ok, skip
from letta_stack.operate.holders.namespaced import Namespaced
from letta_stack.topology import cluster_checks
from letta_stack.topology.catalogue import GATEWAY, GATEWAY_HEALTH_PATH
from letta_stack.topology.render.kubernetes.network import HTTP

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.topology.clustered import Clustered

HEALTH_SECONDS = 5.0
LEFT_OUT = (
    "engine, disk and memory of this machine, archive, buffering of the gateway: of one host alone"
)


def diagnose(cluster: Clustered) -> list[Finding]:
    """Return what every check found, the worst first; where no cluster answers, only that."""
    holder = Namespaced(cluster)
    try:
        found = reached(holder)
        subject = ClusterSubject(cluster, store.directory_of(cluster.name), holder.mine)
        subject.look()
    except LettaStackError as error:
        return [fail("context", str(error), "kubectl config get-contexts; --context chooses one")]
    checks: tuple[Callable[[ClusterSubject], Finding | list[Finding]], ...] = (
        *(nodes, objects.pods, objects.restarts, objects.images, objects.migration),
        *(objects.secrets, objects.autoscaler, objects.volumes, objects.certificates),
        *(api, within, growth, data.backups, data.interrupted, host.pins, host.settings),
    )
    return run.sort([found, *run.ask(checks, subject), skip("one host", LEFT_OUT)])


def reached(holder: Namespaced) -> Finding:
    """Look at the context and the version of its cluster; raise what is wrong with them."""
    context = cluster_checks.context(holder.mine, yes=True)  # nothing is changed
    cluster_checks.version(holder.mine)
    return ok("context", f"{context}, namespace {holder.mine.namespace}")


def nodes(subject: ClusterSubject) -> Finding:
    """Look at the nodes."""
    return objects.nodes(subject.nodes())


def api(subject: ClusterSubject) -> Finding:
    """Ask the gateway, through the API server."""
    service = f"/api/v1/namespaces/{subject.mine.namespace}/services/{GATEWAY.name}:{HTTP}/proxy"
    command = subject.mine.argv("get", "--raw", service + GATEWAY_HEALTH_PATH)
    answer = process.probe(command, timeout=HEALTH_SECONDS)
    if answer.ok:
        return ok("API", f"the gateway answers: {answer.stdout.strip()[:80]}")
    said = answer.stderr.strip().splitlines()[-1:] or ["no answer"]
    return fail("API", said[0], f"`inv logs {subject.project.flags}`")


def within(subject: ClusterSubject) -> list[Finding]:
    """Look from inside a server: schema, PostgreSQL, Redis, collector, providers."""
    holder = Namespaced(subject.project)
    try:
        server = subject.mine.argv("exec", "--stdin", holder.server(), "--")
    except LettaStackError as error:
        return [skip("database", str(error))]
    try:
        facts = inside.facts(holder.postgres())
    except DatabaseElsewhere as error:
        answer = inside.probe([], server)
        facts = {"revision": cluster_plan.revision(holder.mine, holder.server())}
        return [
            skip("database", str(error)),
            inside.migrations(facts, answer),
            inside.backends([*server]),
        ]
    answer = inside.probe(facts["providers"], server)
    return [
        *inside.general(facts, answer),
        inside.leftovers(facts, subject.project.name),
        inside.backends(server),
        inside.collector(answer, subject),
    ]


def growth(subject: ClusterSubject) -> list[Finding]:
    """Look at the size of the database and what is left of its volume, if it is in the namespace."""
    try:
        target = Namespaced(subject.project).postgres()
    except LettaStackError:
        return []
    size = int(target.value("SELECT pg_database_size(current_database())"))
    free = int(target.value(contract.FREE_SPACE, database=contract.FREE_SPACE_DATABASE))
    given = {contract.RESERVE_VARIABLE: subject.project.setting(contract.RESERVE_VARIABLE)}
    return [data.growth(subject, size, free), data.reserve(free, contract.reserve_size(given))]


def doctor(cluster: Clustered, *, as_data: bool, fix: bool) -> None:
    """Show what every check found. Raises ``Unhealthy`` if one fails."""
    run.show(cluster.name, lambda: diagnose(cluster), as_data=as_data, fix=fix)
