"""What an operator of `observability` counts on: everything is seen, nothing is open, and who is on duty is told."""

from __future__ import annotations

import contextlib
import json
import secrets as stdlib_secrets
import time
from collections.abc import Iterator  # noqa: TC003 - a fixture's annotation
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests
from python_on_whales import docker
from python_on_whales.exceptions import DockerException

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.certs import store as certificates
from letta_stack.errors import OtherClickHouse
from letta_stack.policy import dashboards
from letta_stack.secrets import monitoring as secrets
from letta_stack.secrets.store import Store
from letta_stack.topology import metrics, telemetry_store
from letta_stack.topology.catalogue import CLICKHOUSE
from tests.smoke import alerts, browser, harness
from tests.smoke.conftest import arguments_of, inv
from tests.smoke.test_agents import WORDS

if TYPE_CHECKING:
    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment

pytestmark = pytest.mark.only("observability")

PROMETHEUS = "/api/datasources/proxy/uid/prometheus/api/v1"
DRAWN = {
    path.stem: [
        panel for panel in json.loads(path.read_text("utf-8"))["panels"] if "targets" in panel
    ]
    for path in sorted((ROOT / dashboards.DIRECTORY).glob("[!l]*.json"))
}
PANELS = [
    pytest.param(target["expr"], id=f"{name}: {panel['title']} {target['refId']}")
    for name, panels in DRAWN.items()
    for panel in panels
    for target in panel["targets"]
]
TOOL = 'TOOL conversation_search {"query": "heron"}'
# Two exports of the servers, two of the spans' counters and two scrapes, on a machine with other things to do.
SEEN_SECONDS = 90.0


@dataclass(frozen=True)
class Dashboard:
    """The published dashboards, through the password."""

    url: str
    store: Store

    @property
    def password(self) -> str:
        """Return the password that is valid now."""
        return self.store.read(secrets.DASHBOARD)

    def status(self, password: str) -> int:
        """Return the status that a person with this password gets."""
        return requests.get(self.url, auth=("letta", password), timeout=10).status_code

    def get(self, path: str, **parameters: str) -> Any:
        """Ask for JSON."""
        login = (secrets.DASHBOARD_USER, self.password)
        answer = requests.get(self.url + path, params=parameters, auth=login, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus as a panel does."""
        rows: list[dict[str, Any]] = self.get(f"{PROMETHEUS}/query", query=expression)["data"][
            "result"
        ]
        return rows

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        rows = self.query('ALERTS{alertstate="firing"}')
        return {row["metric"]["alertname"] for row in rows}


@pytest.fixture(scope="session")
def dashboard(deployment: Deployment) -> Dashboard:
    url = harness.published_url(deployment.service("letta-dashboard"), 8080)
    return Dashboard(url, Store.of(deployment.stack.name))


@pytest.fixture(scope="session")
def used(deployment: Deployment, dashboard: Dashboard) -> Deployment:
    """A stack whose agents have talked, streamed and used a tool, and that Prometheus has seen doing it."""
    with deployment.client() as client:
        one: AgentState = client.agents.create(
            model=harness.MODEL, embedding=harness.EMBEDDING, memory_blocks=[]
        )
        metrics.backed_up(deployment.stack.name)

        def seen() -> bool:
            work(client, one)
            rates = dashboard.query("sum(rate(letta_span_calls_total[5m])) > 0")
            tokens = dashboard.query("sum(rate(count_user_message_total[5m])) > 0")
            return bool(rates and tokens)

        harness.expect(seen, timeout=SEEN_SECONDS, what="rates of spans and of messages")
    return deployment


def work(client: Letta, agent: AgentState) -> None:
    """Have an agent use a tool and stream an answer."""
    client.agents.messages.create(agent.id, input=TOOL)
    with client.agents.messages.create(
        agent.id, input=WORDS, streaming=True, stream_tokens=True
    ) as stream:
        assert list(stream)
    client.agents.list()


def test_only_gateway_and_dashboard_are_published_and_only_on_this_machine(
    deployment: Deployment,
) -> None:
    names = [state.container for state in deployment.stack.runner.states()]
    published = {
        one["Name"].removeprefix("/"): {
            port["HostIp"] for ports in one["HostConfig"]["PortBindings"].values() for port in ports
        }
        for one in json.loads(process.capture(["docker", "inspect", *names]))
        if one["HostConfig"]["PortBindings"]
    }

    open_ones = (deployment.service("letta-nginx"), deployment.service("letta-dashboard"))
    assert published == {name: {"127.0.0.1"} for name in open_ones}


def test_no_container_has_root_or_writes_to_its_image(deployment: Deployment) -> None:
    names = [state.container for state in deployment.stack.runner.states() if state.ready]
    for one in json.loads(process.capture(["docker", "inspect", *names])):
        host = one["HostConfig"]
        assert host["ReadonlyRootfs"], one["Name"]
        assert host["CapDrop"] == ["ALL"], one["Name"]
        assert host["Memory"] > 0, one["Name"]
        users = process.capture(["docker", "top", one["Id"], "-o", "pid,uid"]).split()[3::2]
        assert "0" not in users, one["Name"]


def test_the_dashboards_ask_for_the_password(dashboard: Dashboard) -> None:
    assert requests.get(dashboard.url, timeout=10).status_code == 401
    assert dashboard.status("x") == 401
    assert dashboard.get("/api/health")["database"] == "ok"


def test_every_target_is_up(used: Deployment, dashboard: Dashboard) -> None:
    down = dashboard.query("up == 0")
    jobs = {row["metric"]["job"] for row in dashboard.query("count by (job) (up)")}

    assert down == []
    assert jobs == {
        *("prometheus", "alertmanager", "host", "containers", "database", "redis", "gateway"),
        *("blackbox", "collector", "clickhouse", "servers", "probe"),
    }
    (answers,) = dashboard.query('max(probe_success{probe="gateway"})')
    assert answers["value"][1] == "1"


def test_every_container_is_measured_by_its_name(used: Deployment, dashboard: Dashboard) -> None:
    rows = dashboard.query("count by (service) (container_memory_bytes)")
    counts = {row["metric"]["service"]: int(row["value"][1]) for row in rows}
    expected = used.stack.expected
    expected.pop("letta-migrate")
    expected.pop("letta-containers")  # a container does not see itself as a neighbour

    assert counts == expected


def test_the_servers_metrics_only_grow_and_are_told_apart(
    used: Deployment, dashboard: Dashboard
) -> None:
    def values() -> dict[str, float]:
        rows = dashboard.query("count_user_message_total")
        return {row["metric"]["instance"]: float(row["value"][1]) for row in rows}

    before = values()
    with used.client() as client:
        one = client.agents.create(model=harness.MODEL, embedding=harness.EMBEDDING)
        for _ in range(3):
            client.agents.messages.create(one.id, input="Good morning, heron.")

    harness.expect(
        lambda: sum(values().values()) >= sum(before.values()) + 3,
        timeout=SEEN_SECONDS,
        what="three more messages",
    )
    assert all(values()[name] >= count for name, count in before.items())
    collectors = dashboard.query('count_user_message_total{job!="letta-server"}')
    assert collectors == []


def test_a_runs_trace_is_read_from_clickhouse(used: Deployment, client: Letta) -> None:
    expect_trace(used, client)


def expect_trace(used: Deployment, client: Letta) -> None:
    """Let an agent answer, and wait until the server finds the spans of that run."""
    one = client.agents.create(model=harness.MODEL, embedding=harness.EMBEDDING)
    answer = client.agents.messages.create(one.id, input="Good morning, heron.")
    run = answer.messages[0].run_id
    address = f"{used.url}/v1/runs/{run}/trace"
    headers = {"Authorization": f"Bearer {used.password}"}

    def spans() -> bool:
        found = requests.get(address, headers=headers, timeout=30)
        return found.status_code == 200 and bool(found.json())

    harness.expect(spans, timeout=60, what="the run's spans")


def rows(deployment: Deployment, query: str) -> list[dict[str, Any]]:
    """Ask ClickHouse, which nothing outside reaches."""
    login = 'Authorization: Basic $(printf "letta:%s" "$(cat /run/secrets/clickhouse-login)" | base64 -w0)'
    address = "http://127.0.0.1:8123/?database=otel&default_format=JSONEachRow"
    ask = f'wget -q -O - --header "{login}" --post-data "$(cat)" "{address}"'
    command = ["docker", "exec", "-i", deployment.service("letta-clickhouse"), "sh", "-c", ask]
    return [json.loads(line) for line in process.capture(command, stdin=query).splitlines()]


def test_one_trace_joins_client_gateway_server_and_store(used: Deployment) -> None:
    trace, caller, secret = (stdlib_secrets.token_hex(size) for size in (16, 8, 12))
    answer = requests.get(
        f"{used.url}/v1/agents/",
        params={"name": f"planted{secret}"},
        headers={
            "Authorization": f"Bearer {used.password}",
            "traceparent": f"00-{trace}-{caller}-01",
            "User-Agent": f"planted{secret}",
        },
        timeout=30,
    )
    requests.get(f"{used.url}/v1/planted{secret}/x", timeout=30)
    assert answer.ok, answer.text

    def joined() -> bool:
        lines = rows(
            used, f"SELECT * FROM otel_logs WHERE TraceId = '{trace}' AND ServiceName = 'nginx'"
        )
        spans = rows(used, f"SELECT SpanName FROM otel_traces WHERE TraceId = '{trace}'")
        if not (lines and spans):
            return False
        attributes = lines[0]["LogAttributes"]
        assert attributes["request_id"] == answer.headers["X-Request-ID"]
        assert attributes["http.area"] == "/v1/agents"
        assert attributes["http.status_code"] == "200"
        assert {"SpanName": "GET /v1/agents/"} in spans
        return True

    harness.expect(joined, timeout=SEEN_SECONDS, what="the gateway's line and the server's span")
    refused = "SELECT count() AS lines FROM otel_logs WHERE ServiceName = 'nginx' AND Body = 'answered 401'"
    harness.expect(
        lambda: int(rows(used, refused)[0]["lines"]) > 0,
        timeout=SEEN_SECONDS,
        what="the line of the refused request",
    )
    # It is in the gateway's own log, without the query, and in no store.
    assert f"planted{secret}" in str(docker.container.logs(used.service("letta-nginx")))
    assert f"planted{secret}" not in json.dumps(rows(used, "SELECT * FROM otel_logs"))


def test_an_error_of_the_database_arrives_without_what_it_was_about(used: Deployment) -> None:
    expect_error(used)


def expect_error(used: Deployment) -> None:
    """Let PostgreSQL log an error with a secret; find the line without it in the store, and with it in `docker logs`."""
    since = rows(used, "SELECT toString(now64(9)) AS now")[0]["now"]
    secret = f"planted{stdlib_secrets.token_hex(12)}"
    database = used.service("letta-db")
    failing = ["psql", "-U", "postgres", "-d", "letta", "-c", f"SELECT '{secret}'::int"]
    with contextlib.suppress(DockerException):
        docker.container.execute(database, failing)

    query = (
        "SELECT * FROM otel_logs WHERE ServiceName = 'postgresql' "
        f"AND LogAttributes['db.sqlstate'] = '22P02' AND Timestamp >= '{since}'"
    )
    harness.expect(lambda: rows(used, query), timeout=SEEN_SECONDS, what="the database's error")
    (line, *_) = rows(used, query)
    assert line["SeverityText"] == "ERROR"
    assert line["Body"] == "ERROR 22P02"
    assert line["LogAttributes"]["function"].startswith("pg_strtoint32")
    # `docker logs` shows all of it, as ever.
    harness.expect(
        lambda: secret in str(docker.container.logs(database)), timeout=30, what="the whole error"
    )
    assert secret not in json.dumps(rows(used, "SELECT * FROM otel_logs"))


def test_the_telemetry_of_another_clickhouse_is_refused(deployment: Deployment) -> None:
    container = deployment.service(CLICKHOUSE.name)
    note = f"{telemetry_store.DIRECTORY}/letta-stack-version"
    # Another name of the image: what runs with its own is not looked into.
    other = f"{harness.RUN}-clickhouse:other"
    docker.image.tag(str(docker.container.inspect(container).config.image), other)
    config = deployment.stack.runner.config()

    def check() -> None:
        telemetry_store.check(deployment.stack, config, {CLICKHOUSE.image: other})

    def write(text: str) -> None:
        command = ["docker", "exec", "-i", container, "sh", "-c", f"cat > {note}"]
        process.capture(command, stdin=text)

    written = str(docker.container.execute(container, ["cat", note]))
    try:
        check()
        write(telemetry_store.VERSION.sub(r"\g<product> version 99.1", written))
        with pytest.raises(
            OtherClickHouse, match=r"has the telemetry of .* 99\.1, and .*:other is "
        ):
            check()
    finally:
        write(written)
        docker.image.remove(other)


@pytest.mark.last(order=1)
def test_the_passwords_of_dashboards_and_exporter_are_rotated(
    deployment: Deployment, dashboard: Dashboard
) -> None:
    old = dashboard.password
    rotate(deployment, secrets.DASHBOARD)
    rotate(deployment, secrets.MONITOR)

    assert dashboard.password != old
    assert (dashboard.status(old), dashboard.status(dashboard.password)) == (401, 200)
    metrics = docker.container.execute(
        deployment.service("letta-postgres-exporter"),
        ["wget", "-q", "-O", "-", "http://127.0.0.1:9187/metrics"],
    )
    assert "\npg_up 1\n" in str(metrics)


@pytest.mark.last(order=1)
@pytest.mark.long
@pytest.mark.timeout(600)  # two servers start, one after the other
def test_a_rotated_password_of_clickhouse_reaches_servers_and_collector(
    used: Deployment, dashboard: Dashboard, client: Letta
) -> None:
    rotate(used, secrets.CLICKHOUSE)

    expect_trace(used, client)
    failed = "sum(max_over_time(otelcol_exporter_send_failed_spans[5m]))"
    assert [row["value"][1] for row in dashboard.query(failed)] in ([], ["0"])


def rotate(deployment: Deployment, name: str) -> None:
    inv("secrets.rotate", name, *arguments_of(deployment.stack))


@pytest.mark.parametrize("expression", PANELS)
def test_every_panel_has_something_to_show(
    expression: str, used: Deployment, dashboard: Dashboard
) -> None:
    harness.expect(lambda: dashboard.query(expression), timeout=SEEN_SECONDS, what=expression)


@pytest.fixture(scope="session")
def seen(used: Deployment, dashboard: Dashboard) -> dict[str, dict[str, str]]:
    """Say what a person with a browser sees of each dashboard. The pictures are in reports/dashboards."""
    expressions = [one for panel in PANELS for one in panel.values]
    with used.client() as client:
        one = client.agents.create(model=harness.MODEL, embedding=harness.EMBEDDING)

        def answered() -> bool:
            work(client, one)
            return all(dashboard.query(str(expression)) for expression in expressions)

        # Rates are over five minutes, which may have gone by since.
        harness.expect(answered, timeout=SEEN_SECONDS, what="an answer to each panel")
    return browser.look_at(
        list(DRAWN),
        address="http://letta-dashboard:8080",
        network=f"{used.stack.name}_dashboard",
        password=dashboard.password,
    )


@pytest.mark.parametrize("name", DRAWN)
def test_a_browser_draws_every_panel(name: str, seen: dict[str, dict[str, str]]) -> None:
    assert seen[name] == {panel["title"]: "" for panel in DRAWN[name]}
    assert (browser.PICTURES / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def receiver(deployment: Deployment) -> Iterator[alerts.Receiver]:
    with alerts.receiving(deployment.stack.name) as one:
        yield one


@pytest.mark.last
@pytest.mark.timeout(400)
def test_who_is_on_duty_is_told_and_told_again_when_it_is_over(
    used: Deployment, dashboard: Dashboard, receiver: alerts.Receiver
) -> None:
    faults = {
        "ApiDown": "letta-nginx",
        "DatabaseDown": "letta-db",
        "RedisDown": "letta-redis",
    }
    containers = [used.service(name) for name in faults.values()]
    expected = [*faults, "MigrationFailed"]

    def told(*, resolved: bool) -> bool:
        return all(
            receiver.told(place, alert, resolved=resolved)
            for alert in expected
            for place in alerts.RECEIVERS
        )

    docker.container.stop(containers, time=5)
    metrics.gauge(used.stack.name, metrics.MIGRATED, 0)
    try:
        harness.expect(lambda: told(resolved=False), timeout=150, what=f"news of {expected}")
        assert dashboard.firing() >= set(expected)
    finally:
        docker.container.start(containers)
        metrics.gauge(used.stack.name, metrics.MIGRATED, 1)
    harness.expect(lambda: told(resolved=True), timeout=150, what=f"the end of {expected}")


LONG_FAULTS = {
    "TargetDown": "letta-nginx-exporter",
    "ClickHouseDown": "letta-clickhouse",
}


@pytest.mark.last
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_slower_alerts_reach_who_is_on_duty(
    used: Deployment, dashboard: Dashboard, receiver: alerts.Receiver
) -> None:
    stopped = [used.service(name) for name in LONG_FAULTS.values()]
    restarting = used.service("letta-grafana")
    headers = {"Authorization": f"Bearer {used.password}"}
    expected = [*LONG_FAULTS, "BackupTooOld", "ContainerRestarts", "ErrorBudgetBurnsFast"]

    def told() -> bool:
        # Something that fails: the database is gone.
        requests.get(f"{used.url}/v1/agents/", headers=headers, timeout=60)
        if not receiver.told("/slack", "ContainerRestarts", resolved=False):
            docker.container.restart(restarting, time=1)
            time.sleep(16)  # seen by a scrape before the next one
        return all(receiver.told("/slack", alert, resolved=False) for alert in expected)

    database = used.service("letta-db")
    docker.container.stop([*stopped, database], time=5)
    metrics.gauge(used.stack.name, metrics.BACKUP, time.time() - 3 * 86400)
    try:
        harness.expect(told, timeout=600, what=f"news of {expected}")
        assert dashboard.firing() >= set(expected)
    finally:
        docker.container.start([*stopped, database])
        metrics.backed_up(used.stack.name)
    over = [*LONG_FAULTS, "BackupTooOld"]
    harness.expect(
        lambda: all(receiver.told("/slack", alert, resolved=True) for alert in over),
        timeout=300,
        what=f"the end of {over}",
    )


SLOWEST = ("CertificateExpires", "ProviderFailing", "TelemetryQueueGrows")


@pytest.mark.last
@pytest.mark.long
@pytest.mark.timeout(2400)
def test_the_slowest_alerts_reach_everybody_and_so_does_their_end(
    used: Deployment, dashboard: Dashboard, receiver: alerts.Receiver
) -> None:
    """A certificate for a week, a provider that is gone, a short queue to a ClickHouse that is gone."""
    certify(used, days=7)
    # Short enough to be half full in the time of a test.
    again(used, dashboard, {"LETTA_STACK_TELEMETRY_QUEUE": "10"})
    agent = talk(used, "/v1/agents/", {"model": harness.MODEL, "embedding": harness.EMBEDDING})
    gone = [used.service("letta-clickhouse"), used.stub]

    def told(*, resolved: bool) -> bool:
        with contextlib.suppress(requests.RequestException):
            talk(used, f"/v1/agents/{agent['id']}/messages", {"input": "Good morning, heron."})
        return all(
            receiver.told(place, alert, resolved=resolved)
            for alert in SLOWEST
            for place in alerts.RECEIVERS
            # Warnings wake nobody.
            if place != alerts.PAGERDUTY or alert == "ProviderFailing"
        )

    docker.container.stop(gone, time=5)
    try:
        harness.expect(lambda: told(resolved=False), timeout=900, what=f"news of {SLOWEST}")
        assert dashboard.firing() >= set(SLOWEST)
    finally:
        docker.container.start(gone)
        certify(used, days=90)
    harness.expect(lambda: told(resolved=True), timeout=900, what=f"the end of {SLOWEST}")


@pytest.mark.last(order=3)  # it leaves the project with TLS
@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_logs_of_the_services_come_with_tls_inside_as_well(
    used: Deployment, dashboard: Dashboard
) -> None:
    inv("certs.internal", "--project", used.stack.name)
    again(used, dashboard, {})

    assert "ssl=on" in str(
        docker.container.execute(used.service("letta-db"), ["cat", "/proc/1/cmdline"])
    )
    lines = "SELECT count() AS lines FROM otel_logs WHERE ServiceName = 'nginx'"
    before = int(rows(used, lines)[0]["lines"])
    expect_error(used)
    with contextlib.suppress(requests.RequestException):
        talk(used, "/v1/agents/", {"model": harness.MODEL, "embedding": harness.EMBEDDING})
    harness.expect(
        lambda: int(rows(used, lines)[0]["lines"]) > before,
        timeout=SEEN_SECONDS,
        what="a line of the gateway",
    )


def certify(deployment: Deployment, *, days: int) -> None:
    options = ["--days", str(days), "--force", "--project", deployment.stack.name]
    inv("certs.make", "--name", "localhost", *options)


def again(deployment: Deployment, dashboard: Dashboard, settings: dict[str, str]) -> None:
    """Run `inv up` on the running stack with other settings."""
    port, dashboard_port = (url.rpartition(":")[2] for url in (deployment.url, dashboard.url))
    inv(
        *("up", *arguments_of(deployment.stack), "--replicas", "2"),
        *("--port", port, "--dashboard-port", dashboard_port),
        environment={
            **harness.blank_environment(),
            **harness.PROVIDER,
            # Where plain HTTP is told to go.
            "LETTA_STACK_HTTP_PORT": harness.free_port(),
            **settings,
        },
    )


def talk(deployment: Deployment, path: str, body: dict[str, str]) -> Any:
    """Send a request through the gateway with HTTPS, by the name that its certificate has."""
    answer = requests.post(
        f"https://localhost:{deployment.url.rpartition(':')[2]}{path}",
        json=body,
        headers={"Authorization": f"Bearer {deployment.password}"},
        verify=str(certificates.directory(deployment.stack.name) / certificates.AUTHORITY),
        timeout=60,
    )
    answer.raise_for_status()
    return answer.json()
