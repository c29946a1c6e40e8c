"""What each `--env` is. Read by the tasks, by nox, by the tests and by the table in README."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from letta_stack.errors import BadValue
from letta_stack.topology.model import PortFlag, Service, Topology

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SERVER = "letta-server"
BACKUP = "letta-backup"  # where LETTA_STACK_BACKUP_RECIPIENTS says who can open them
ARCHIVE = "letta-archive"  # makes base backups where LETTA_STACK_PITR asks for it
HEALTH_PATH = "/v1/health/"
# The gateway's, for load balancers: neither a base path nor a list of clients concerns it.
GATEWAY_HEALTH_PATH = "/health"
# The gateway leaves a replica that refused a connection, as one does that is starting, out for two seconds; were the others
# gone in that time, there would be nobody.
GATEWAY_RETRY_SECONDS = 4.0
# After a reload the gateway answers one more request on a connection that its client used in this time, as it was configured
# before (compose/nginx/start).
GATEWAY_KEEPS_SECONDS = 5
PORT_VARIABLE = "LETTA_STACK_PORT"  # the published port of the API, in every topology


def catalogue(topologies: Iterable[Topology]) -> dict[str, Topology]:
    """Index by name."""
    return {topology.name: topology for topology in topologies}


DATABASE = Service("letta-db", image="POSTGRES_IMAGE")
# A database that survives the loss of a member: its services have the image of PostgreSQL with Patroni and etcd.
PROXY = Service(DATABASE.name, image="HAPROXY_IMAGE")
MEMBERS = tuple(Service(f"letta-db-{number}", image=DATABASE.image) for number in (1, 2, 3))
ETCD = tuple(Service(f"letta-etcd-{number}", image=DATABASE.image) for number in (1, 2, 3))
REDIS = Service("letta-redis", image="REDIS_IMAGE")
MIGRATION = Service("letta-migrate", one_shot=True)
GATEWAY = Service("letta-nginx", image="NGINX_IMAGE")
COLLECTOR = Service("letta-collector")
LANGUAGE_MODEL = Service("letta-llm", image="VLLM_IMAGE", optional=True)
PRODUCTION = (Service(SERVER, replicated=True), MIGRATION, DATABASE, REDIS, GATEWAY, COLLECTOR)
DASHBOARD = Service("letta-dashboard", image="NGINX_IMAGE")
CLICKHOUSE = Service("letta-clickhouse", image="CLICKHOUSE_IMAGE")
MONITORING = (
    CLICKHOUSE,
    Service("letta-prometheus", image="PROMETHEUS_IMAGE"),
    Service("letta-alertmanager", image="ALERTMANAGER_IMAGE"),
    Service("letta-node-exporter", image="NODE_EXPORTER_IMAGE"),
    Service("letta-containers"),
    Service("letta-postgres-exporter", image="POSTGRES_EXPORTER_IMAGE"),
    Service("letta-redis-exporter", image="REDIS_EXPORTER_IMAGE"),
    Service("letta-nginx-exporter", image="NGINX_EXPORTER_IMAGE"),
    Service("letta-blackbox-exporter", image="BLACKBOX_EXPORTER_IMAGE"),
    Service("letta-grafana", image="GRAFANA_IMAGE"),
    DASHBOARD,
)

TOPOLOGIES = catalogue(
    [
        Topology(
            name="single",
            summary="one container: server, PostgreSQL with pgvector, Redis, collector, one volume",
            entry="compose/single.yaml",
            services=(Service(SERVER),),
            published=SERVER,
        ),
        Topology(
            name="dev",
            summary="server behind nginx, PostgreSQL and Redis, each in a container of its own; verbose logs",
            entry="dev-compose.yaml",
            services=(Service(SERVER), DATABASE, REDIS, GATEWAY),
            published=GATEWAY.name,
        ),
        Topology(
            name="hot",
            summary="`dev` with a Letta source tree of yours, loaded again on every save",
            entry="compose/hot.yaml",
            services=(Service(SERVER), DATABASE, REDIS, GATEWAY),
            published=GATEWAY.name,
            mounts_source=True,
        ),
        Topology(
            name="prod",
            summary="any number of servers behind nginx, with PostgreSQL, Redis and collector; no root, limits, secrets as files",
            entry="compose.yaml",
            services=PRODUCTION,
            published=GATEWAY.name,
            secrets=True,
            backups=True,
            tls=True,
        ),
        Topology(
            name="observability",
            summary="`prod` plus ClickHouse, Prometheus, Alertmanager, exporters and dashboards behind a password",
            entry="compose/observability.yaml",
            services=(*PRODUCTION, *MONITORING),
            published=GATEWAY.name,
            extra_ports=(
                PortFlag("--dashboard-port", "LETTA_STACK_DASHBOARD_PORT", DASHBOARD.name),
            ),
            secrets=True,
            backups=True,
            monitoring=True,
            tls=True,
        ),
        Topology(
            name="services",
            summary="only PostgreSQL with pgvector and Redis, for a server or tests on this machine",
            entry="compose/services.yaml",
            services=(DATABASE, REDIS),
            extra_ports=(
                PortFlag("--pg-port", "LETTA_STACK_PG_PORT", DATABASE.name),
                PortFlag("--redis-port", "LETTA_STACK_REDIS_PORT", REDIS.name),
            ),
        ),
        Topology(
            name="vllm",
            summary="`single` with a language model of your own: vLLM or Ollama on a GPU, or any server of the OpenAI API",
            entry="compose/vllm.yaml",
            services=(Service(SERVER), LANGUAGE_MODEL),
            published=SERVER,
            language_model=True,
        ),
    ]
)


# More than one host. Their form is made from the same entry; what is theirs alone is in letta_stack/topology/render/.
CLUSTERS = catalogue(
    [
        Topology(
            name="kubernetes",
            summary="`prod` on a Kubernetes cluster of yours: rolling updates, autoscaler, network policies; database elsewhere",
            entry="compose.yaml",
            services=PRODUCTION,
            published=GATEWAY.name,
            secrets=True,
        ),
        Topology(
            name="swarm",
            summary="`prod` as a Docker Swarm stack: overlay networks, secrets and configs by version, updates with rollback",
            entry="compose.yaml",
            services=PRODUCTION,
            published=GATEWAY.name,
            secrets=True,
        ),
    ]
)


def with_members(topology: Topology) -> Topology:
    """Return the same topology with a database of several members in the place of one PostgreSQL."""
    services = tuple(PROXY if one == DATABASE else one for one in topology.services)
    names = tuple(one.name for one in MEMBERS)
    return replace(topology, services=(*services, *MEMBERS, *ETCD), members=names)


def health_path(topology: Topology) -> str:
    """Return the path at which the published service of a topology says whether the server answers."""
    return GATEWAY_HEALTH_PATH if topology.published == GATEWAY.name else HEALTH_PATH


def find(name: str) -> Topology:
    """Return the topology of `--env` that runs on one host, or say which ones there are."""
    if name in CLUSTERS:
        raise BadValue(
            f"--env {name}: this task is for one host; see docs/topologies/{name}.md for what does the same on a cluster"
        )
    return _find(name, TOPOLOGIES)


def find_cluster(name: str) -> Topology:
    """Return the topology of `--env` that runs on a cluster, or say which ones there are."""
    return _find(name, CLUSTERS)


def _find(name: str, topologies: Mapping[str, Topology]) -> Topology:
    try:
        return topologies[name]
    except KeyError:
        known = ", ".join(topologies)
        raise BadValue(f"--env {name!r} is not a topology; use one of: {known}") from None
