"""The collector by itself: what is sent is stored, and what must not leave does not."""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from letta_stack.certs import issue, names
from letta_stack.engine import inspect
from letta_stack.image.sources import Sources
from tests.smoke import harness, telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIN = "CLICKHOUSE_IMAGE"


@pytest.fixture(scope="module")
def network(image: str) -> Iterator[str]:
    assert image
    with harness.network(f"{harness.RUN}-telemetry") as one:
        yield one


@pytest.fixture(scope="module")
def clickhouse_image() -> str:
    sources = Sources.of(images="auto", otelcol="auto", letta_source="", ca="")
    return sources.prepare([PIN], inspect.require(), server="")[PIN]


def planted() -> dict[str, dict[str, Any]]:
    """Return one request for each signal, with a secret in every place that takes text; the secrets begin with PLANTED."""
    count = iter(range(1000))

    def secret() -> str:
        return f"PLANTED-{next(count)}-{secrets.token_hex(6)}"

    now = str(time.time_ns())

    def content() -> list[dict[str, Any]]:
        return telemetry.attributes(
            {
                "http.request.body.api_key": secret(),
                "http.request.body.messages": secret(),
                "http.url": f"http://h/v1/x?token={secret()}",
                "parameter.tool_args": secret(),
                "client": secret(),
                "db.statement": secret(),
                "gen_ai.prompt": secret(),
                "never.seen.before": secret(),
            }
        )

    kept = telemetry.attributes({"http.status_code": "200"})

    def exception() -> list[dict[str, Any]]:
        return telemetry.attributes(
            {
                "exception.message": secret(),
                "exception.stacktrace": secret(),
                "exception.type": "ValueError",
            }
        )

    span = telemetry.resource_spans(
        "POST /v1/agents/",
        attributes=content() + kept,
        status={"code": 2, "message": secret()},
        traceState=f"vendor={secret()}",
        events=[{"timeUnixNano": now, "name": "exception", "attributes": exception()}],
    )
    resource = {"attributes": telemetry.attributes({"service.name": "letta-server"})}
    point = {
        "attributes": telemetry.attributes(
            {"client": secret(), "http.request.body.x": secret(), "status_code": "200"}
        ),
        "timeUnixNano": now,
        "asInt": "1",
    }
    metric = {
        "name": "count_endpoint_requests",
        "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]},
    }
    record = {
        "timeUnixNano": now,
        "severityNumber": 17,
        "severityText": "ERROR",
        "body": {"stringValue": f"provider said {secret()}"},
        "attributes": content()
        + exception()
        + telemetry.attributes({"statement": 'logger.error(f"provider said {answer}")'}),
    }
    return {
        "traces": {"resourceSpans": [span]},
        "metrics": {
            "resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]
        },
        "logs": {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]},
    }


@pytest.mark.parametrize("content", ["remove", "keep"])
def test_no_planted_secret_reaches_a_backend_unless_it_is_asked_for(
    network: str, content: str
) -> None:
    key = secrets.token_hex(8)
    settings = {
        "SIGNOZ_ENDPOINT": "signoz:4317",
        "SIGNOZ_INGESTION_KEY": key,
        "SIGNOZ_INSECURE": "true",
        "LETTA_STACK_TELEMETRY_CONTENT": content,
    }
    sent = planted()
    with (
        telemetry.receiver(f"signoz-{content}", network, key) as url,
        telemetry.collector(f"collector-{content}", network, settings) as collector,
    ):
        for signal, payload in sent.items():
            collector.send(signal, payload)
        harness.expect(
            lambda: len(requests.get(url, timeout=5).json()) >= len(sent),
            timeout=telemetry.SECONDS,
            what="the backend did not get the three signals",
        )
        arrived = requests.get(url, timeout=5).text

    for needed in ("POST /v1/agents/", "count_endpoint_requests", "ValueError", "status_code"):
        assert needed in arrived
    planted_secrets = set(re.findall(r"PLANTED-\d+-\w+", json.dumps(sent)))
    found = [word for word in planted_secrets if word in arrived]
    assert len(planted_secrets) == 25
    assert len(found) == (0 if content == "remove" else len(planted_secrets))
    # The statement says what happened in the place of what was said.
    assert "provider said {answer}" in arrived


def test_a_refused_key_is_said_and_the_data_is_lost(network: str) -> None:
    key = secrets.token_hex(8)
    settings = {
        "SIGNOZ_ENDPOINT": "signoz:4317",
        "SIGNOZ_INGESTION_KEY": f"not-{key}",
        "SIGNOZ_INSECURE": "true",
    }
    with (
        telemetry.receiver("strict-signoz", network, key) as url,
        telemetry.collector("refused", network, settings) as collector,
    ):
        collector.send_spans("refused", 1)
        harness.expect(
            lambda: "no such ingestion key" in collector.logs(),
            timeout=telemetry.SECONDS,
            what="the collector does not say that its key is refused",
        )
        assert "Dropping data" in collector.logs()
        assert settings["SIGNOZ_INGESTION_KEY"] not in collector.logs()
        assert requests.get(url, timeout=5).json() == []


def test_a_backend_by_tls_is_trusted_only_with_a_certificate_of_the_authority(
    network: str, tmp_path: Path
) -> None:
    now = dt.datetime.now(tz=dt.UTC)
    authority, stranger = issue.authority("backend", now), issue.authority("stranger", now)
    leaf = issue.leaf(authority, names.parse(["tls-backend"]), now)
    files = {
        "leaf.pem": leaf.key_pem + leaf.certificate_pem,
        "authority.pem": authority.certificate_pem,
        "stranger.pem": stranger.certificate_pem,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    settings = {"SIGNOZ_ENDPOINT": "tls-backend:4317", "LETTA_STACK_OTLP_CA": "/ca.pem"}

    with telemetry.tls_receiver("tls-backend", network, tmp_path / "leaf.pem") as received:
        mounts = [(tmp_path / "stranger.pem", "/ca.pem", "ro")]
        with telemetry.collector("distrusts", network, settings, mounts=mounts) as collector:
            collector.send_spans("unsent", 1)
            harness.expect(
                lambda: "certificate signed by unknown authority" in collector.logs(),
                timeout=telemetry.SECONDS,
                what="the wrong authority is not noticed",
            )
        assert received() == ""

        mounts = [(tmp_path / "authority.pem", "/ca.pem", "ro")]
        with telemetry.collector("trusts", network, settings, mounts=mounts) as collector:
            collector.send_spans("sent", 1)
            harness.expect(
                lambda: "sent 0" in received(), timeout=telemetry.SECONDS, what="nothing arrives"
            )
        assert "unsent" not in received()


def test_a_collector_alone_is_healthy_and_not_root(network: str) -> None:
    with telemetry.collector("alone", network, {}) as collector:
        server = harness.Server(collector.container, collector.url)
        harness.expect(lambda: server.health == "healthy", timeout=30, what="it is not healthy")

        assert {one.uid for one in server.processes()} == {10002}
