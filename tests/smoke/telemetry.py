"""Collectors, backends and senders for the telemetry tests."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from python_on_whales import docker

from letta_stack.base.paths import ROOT
from letta_stack.base.wait import wait_until
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    Mount = tuple[Path, str, str]

CLICKHOUSE = "clickhouse"
PASSWORD = "it's $a/secret%"
CLICKHOUSE_SETTINGS = {
    "CLICKHOUSE_ENDPOINT": f"http://{CLICKHOUSE}:8123",
    "CLICKHOUSE_PASSWORD": PASSWORD,
}
RECEIVER_PORT = 9912
GRPC = 4317
STORAGE = "/var/lib/letta/otel"
COLLECTOR_USER = "10002:10002"
SECONDS = 60.0


@dataclass(frozen=True)
class Clickhouse:
    """A ClickHouse of this run's own."""

    container: str
    database: str = "otel"

    @property
    def url(self) -> str:
        """Where it is published now: another start, another port."""
        return harness.published_url(self.container, 8123)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        answer = requests.post(
            self.url,
            params={"database": self.database, "default_format": "JSONEachRow"},
            data=query,
            headers={"X-ClickHouse-User": "default", "X-ClickHouse-Key": PASSWORD},
            timeout=30,
        )
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]

    def stored(self, prefix: str) -> tuple[int, int]:
        """Return how many spans of a sender are stored, and how many different ones."""
        (row,) = self.rows(
            "SELECT count() AS all, uniqExact(SpanId) AS different FROM otel_traces "
            f"WHERE SpanName LIKE '{prefix}%'"
        )
        return int(row["all"]), int(row["different"])

    def wait_ready(self) -> None:
        """Return when it answers."""

        def answers() -> bool:
            with contextlib.suppress(requests.RequestException, KeyError, TypeError, IndexError):
                return bool(requests.get(f"{self.url}/ping", timeout=2).ok)
            return False

        wait_until(answers, timeout=SECONDS, interval=0.25, describe="ClickHouse")


@contextlib.contextmanager
def clickhouse(
    name: str, network: str, image: str, *, alias: str = CLICKHOUSE, **options: Any
) -> Iterator[Clickhouse]:
    """Run ClickHouse under the name ``clickhouse``, or another one."""
    with harness.running(
        name,
        image=image,
        envs={"CLICKHOUSE_PASSWORD": PASSWORD, "CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT": "1"},
        networks=[network],
        network_aliases=[alias],
        publish=[("127.0.0.1:", 8123)],
        **options,
    ) as container:
        one = Clickhouse(container)
        one.wait_ready()
        yield one


@dataclass(frozen=True)
class Collector:
    """The image as a collector and nothing else, as compose/services/collector.yaml runs it."""

    container: str
    volume: str

    @property
    def url(self) -> str:
        """Where it takes OTLP over HTTP."""
        return harness.published_url(self.container, 4318)

    def send(self, signal: str, payload: Mapping[str, Any]) -> None:
        """Send until there is an answer that the data was taken, as every exporter does."""

        seen = ""

        def taken() -> bool:
            nonlocal seen
            try:
                answer = requests.post(f"{self.url}/v1/{signal}", json=payload, timeout=5)
            except (requests.RequestException, KeyError, TypeError, IndexError) as error:
                seen = repr(error)
                return False
            seen = f"{answer.status_code} {answer.text}"
            return bool(answer.ok)

        def describe() -> str:
            state = docker.container.inspect(self.container).state
            return f"the collector, {state.status}, takes nothing: {seen}\n{self.logs()[-2000:]}"

        wait_until(taken, timeout=SECONDS, interval=0.2, describe=describe)

    def send_spans(self, name: str, count: int) -> None:
        """Send spans, one request for each."""
        for number in range(count):
            self.send("traces", {"resourceSpans": [resource_spans(f"{name} {number}")]})

    def fill(self, count: int, size: int) -> int:
        """Send requests of about that many bytes, each of them once; return how many were taken."""
        taken = 0
        for number in range(count):
            span = resource_spans(
                f"fill {number}", attributes=attributes({"http.agent_id": "x" * size})
            )
            payload = {"resourceSpans": [span]}
            taken += requests.post(f"{self.url}/v1/traces", json=payload, timeout=30).ok
        return taken

    def used(self, directory: str) -> int:
        """Return how many bytes of the disk a directory has."""
        kilobytes = docker.container.execute(self.container, ["du", "-sk", directory])
        return int(str(kilobytes).split()[0]) * 1024

    def logs(self) -> str:
        """Return what it wrote."""
        return str(docker.container.logs(self.container))

    def crash(self) -> None:
        """Kill the process as the kernel would, and start the container again."""
        docker.container.kill(self.container, signal="KILL")
        docker.container.start(self.container)


@contextlib.contextmanager
def collector(
    name: str,
    network: str,
    settings: Mapping[str, str],
    *,
    mounts: Sequence[Mount] = (),
    disk: str = "",
    **options: Any,
) -> Iterator[Collector]:
    """Run the image as a collector. ``disk`` bounds its volume, as in 8m: one in memory, that lives as long as it is mounted."""
    volume = f"{harness.RUN}-{name}"
    if disk:
        bounded = {"type": "tmpfs", "device": "tmpfs", "o": f"size={disk},uid=10002,gid=10002"}
        docker.volume.create(volume, driver="local", options=bounded)
    try:
        with harness.running(
            name,
            command=["collector"],
            user=COLLECTOR_USER,
            read_only=True,
            cap_drop=["ALL"],
            # Without ClickHouse 0.96.0 ends while it makes its tables, and its receivers may have started before.
            restart="unless-stopped",
            tmpfs=["/tmp", "/var/lib/letta:uid=10002"],
            volumes=[(volume, STORAGE), *mounts],
            envs=dict(settings),
            networks=[network],
            network_aliases=["collector"],
            publish=[("127.0.0.1:", 4318)],
            **options,
        ) as container:
            yield Collector(container, volume)
    finally:
        docker.volume.remove(volume)


@contextlib.contextmanager
def receiver(name: str, network: str, key: str) -> Iterator[str]:
    """Run a backend like SigNoz; yield the address that shows what it got."""
    with harness.running(
        name,
        command=["/stub/otlp_receiver.py"],
        entrypoint="/opt/letta/venv/bin/python",
        user="65534:65534",
        healthcheck=False,
        volumes=[(ROOT / "tests" / "smoke" / "stub", "/stub", "ro")],
        envs={"INGESTION_KEY": key},
        networks=[network],
        network_aliases=["signoz"],
        publish=[("127.0.0.1:", RECEIVER_PORT)],
    ) as container:
        yield harness.published_url(container, RECEIVER_PORT)


@contextlib.contextmanager
def tls_receiver(name: str, network: str, certificate: Path) -> Iterator[Callable[[], str]]:
    """Run a real collector that takes OTLP by TLS; yield what returns all that it got."""
    with harness.running(
        name,
        command=["--config=/receiver.yaml"],
        entrypoint="/usr/local/bin/otelcol-contrib",
        user=COLLECTOR_USER,
        healthcheck=False,
        volumes=[
            (ROOT / "tests/smoke/stub/otlp_tls.yaml", "/receiver.yaml", "ro"),
            (certificate, "/tls.pem", "ro"),
        ],
        networks=[network],
        network_aliases=[name],
    ) as container:
        show = ["sh", "-c", "cat /tmp/received.json 2>/dev/null || true"]
        yield lambda: str(docker.container.execute(container, show))


def attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Write attributes as OTLP does."""
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def resource_spans(name: str, **fields: Any) -> dict[str, Any]:
    """Return one span of a server in OTLP's JSON."""
    now = time.time_ns()
    span = {
        "traceId": secrets.token_hex(16),
        "spanId": secrets.token_hex(8),
        "name": name,
        "kind": 2,
        "startTimeUnixNano": str(now),
        "endTimeUnixNano": str(now + 1_000_000),
        **fields,
    }
    return {
        "resource": {"attributes": attributes({"service.name": "letta-server"})},
        "scopeSpans": [{"scope": {"name": "test"}, "spans": [span]}],
    }
