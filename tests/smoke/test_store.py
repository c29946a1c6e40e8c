"""A server whose telemetry goes to ClickHouse: one trace from the caller to the store, and nothing that must not leave."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator  # noqa: TC003 - a fixture's annotation
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.smoke import harness, telemetry
from tests.smoke.test_collector import clickhouse_image  # noqa: F401 - a fixture

TABLES = (
    *("otel_traces", "otel_logs", "otel_metrics_sum", "otel_metrics_gauge"),
    "otel_metrics_histogram",
)
AGENT = {
    "model": harness.MODEL,
    "embedding": harness.EMBEDDING,
}


@dataclass(frozen=True)
class Stored:
    """A server and the ClickHouse behind it."""

    server: harness.Server
    clickhouse: telemetry.Clickhouse

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call the API."""
        headers = {"Authorization": f"Bearer {self.server.password}"}
        return requests.request(
            method,
            f"{self.server.url}/v1{path}",
            headers=headers | options.pop("headers", {}),
            timeout=60,
            **options,
        )

    def spans(self, trace: str) -> list[dict[str, Any]]:
        """Return the spans of a trace."""
        return self.clickhouse.rows(
            "SELECT SpanName, ParentSpanId, SpanKind, SpanAttributes FROM otel_traces "
            f"WHERE TraceId = '{trace}'"
        )


@pytest.fixture(scope="module")
def stored(image: str, clickhouse_image: str) -> Iterator[Stored]:  # noqa: F811 - a fixture
    assert image
    environment = (
        harness.PROVIDER
        | telemetry.CLICKHOUSE_SETTINGS
        | {"LETTA_ENVIRONMENT": "test", "OTEL_METRIC_EXPORT_INTERVAL": "2000"}
    )
    with (
        harness.network(f"{harness.RUN}-store") as network,
        harness.script(
            "store-stub",
            "llm_stub.py",
            networks=[network],
            network_aliases=[harness.STUB_HOST],
        ),
        telemetry.clickhouse("store-clickhouse", network, clickhouse_image) as clickhouse,
        harness.server("store", environment=environment, networks=[network]) as server,
    ):
        server.wait_until_healthy(timeout=300)
        yield Stored(server, clickhouse)


def test_a_run_is_one_trace_from_the_caller_to_the_store(stored: Stored) -> None:
    trace, caller = secrets.token_hex(16), secrets.token_hex(8)
    agent = stored.request("POST", "/agents/", json=AGENT).json()["id"]

    answer = stored.request(
        "POST",
        f"/agents/{agent}/messages",
        json={"messages": [{"role": "user", "content": "hello"}]},
        headers={"traceparent": f"00-{trace}-{caller}-01"},
    )

    assert answer.ok, answer.text
    route = "POST /v1/agents/{agent_id}/messages"
    harness.expect(
        lambda: {route, "agent_step"} <= {one["SpanName"] for one in stored.spans(trace)},
        timeout=30,
        what="the caller's trace does not arrive",
    )
    (root,) = [one for one in stored.spans(trace) if one["SpanName"] == route]
    assert root["ParentSpanId"] == caller
    assert root["SpanKind"] in {"SPAN_KIND_SERVER", "Server"}
    assert root["SpanAttributes"]["http.agent_id"] == agent
    assert root["SpanAttributes"]["http.status_code"] == "200"

    run = answer.json()["messages"][0]["run_id"]
    seen = stored.request("GET", f"/runs/{run}/trace")
    assert seen.ok, seen.text
    assert "agent_step" in {one["SpanName"] for one in seen.json()}


def test_logs_carry_the_trace_and_metrics_are_cumulative(stored: Stored) -> None:
    trace = secrets.token_hex(16)
    # An agent that does not exist: the server logs the failure.
    stored.request(
        "PATCH",
        "/agents/agent-00000000-0000-4000-8000-000000000000",
        json={"name": "x"},
        headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"},
    )

    def logs() -> list[dict[str, Any]]:
        return stored.clickhouse.rows(
            "SELECT Body, SeverityText, ServiceName, ResourceAttributes['environment'] AS environment, "
            "ResourceAttributes['letta.version'] AS version FROM otel_logs "
            f"WHERE TraceId = '{trace}'"
        )

    harness.expect(lambda: logs() != [], timeout=30, what="no log record of the trace arrives")
    assert {(one["ServiceName"], one["environment"]) for one in logs()} == {
        ("letta-server", "test")
    }
    assert {one["version"] for one in logs()} != {""}
    temporality = "SELECT DISTINCT AggTemp FROM otel_metrics_sum"
    harness.expect(
        lambda: [int(one["AggTemp"]) for one in stored.clickhouse.rows(temporality)] == [2],
        timeout=30,
        what="sums are not cumulative",
    )


def plant(stored: Stored) -> set[str]:
    """Send a secret of its own through everything that takes text; whether the server likes it does not matter."""
    planted: set[str] = set()

    def secret() -> str:
        one = f"planted{secrets.token_hex(8)}"
        planted.add(one)
        return one

    def post(path: str, body: object, **options: Any) -> dict[str, Any]:
        answer = stored.request("POST", path, json=body, **options)
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        found = answer.json() if answer.ok and is_json else {}
        return found if isinstance(found, dict) else {}

    agent = post(
        "/agents/",
        AGENT
        | {
            "name": secret(),
            "description": secret(),
            "system": secret(),
            "tags": [secret()],
            "metadata": {"note": secret()},
            "memory_blocks": [{"label": "human", "value": secret(), "description": secret()}],
            "tool_exec_environment_variables": {"KEY": secret()},
            "secrets": {"TOKEN": secret()},
        },
    ).get("id", "")
    assert agent
    source = (
        f"def shout(text: str) -> str:\n    '''{secret()}.\n\n    Args:\n        text: {secret()}\n    '''\n"
        f"    print('{secret()}')\n    return text + '{secret()}'\n"
    )
    tool = post("/tools/", {"source_code": source, "description": secret()}).get("id", "")
    stored.request("PATCH", f"/agents/{agent}/tools/attach/{tool}")
    call = json.dumps({"text": secret()})
    for content in (secret(), f"TOOL shout {call}", [{"type": "text", "text": secret()}]):
        post(f"/agents/{agent}/messages", {"messages": [{"role": "user", "content": content}]})
    post(
        f"/agents/{agent}/messages/stream",
        {"messages": [{"role": "user", "content": secret()}], "stream_tokens": True},
    )
    post("/tools/run", {"source_code": source, "args": {"text": secret()}, "name": "shout"})
    post(
        "/tools/run", {"source_code": f"def f():\n    raise ValueError('{secret()}')\n", "args": {}}
    )
    post("/blocks/", {"label": secret(), "value": secret(), "description": secret()})
    stored.request("PATCH", f"/agents/{agent}/core-memory/blocks/human", json={"value": secret()})
    stored.request("GET", f"/agents/{agent}/core-memory/blocks/{secret()}")
    post(f"/agents/{agent}/archival-memory", {"text": secret(), "tags": [secret()]})
    stored.request("GET", f"/agents/{agent}/archival-memory/search", params={"query": secret()})
    post("/messages/search", {"query": secret()})
    post("/passages/search", {"query": secret()})
    post("/archives/", {"name": secret(), "description": secret()})
    post("/folders/", {"name": secret(), "description": secret(), "instructions": secret()})
    post("/identities/", {"identifier_key": secret(), "name": secret(), "identity_type": "user"})
    post("/groups/", {"agent_ids": [agent], "description": secret()})
    post("/providers/", {"name": secret(), "provider_type": "openai", "api_key": secret()})
    post("/providers/check", {"provider_type": "openai", "api_key": secret()})
    post("/mcp-servers/", {"server_name": secret(), "config": {"server_url": f"http://{secret()}"}})
    post("/sandbox-config/", {"config": {"sandbox_dir": f"/{secret()}"}})
    post("/agents/", AGENT | {"model": f"openai/{secret()}"})
    stored.request("PATCH", f"/agents/{agent}", json={"system": secret(), "unknown": secret()})
    stored.request("GET", f"/{secret()}/{secret()}", params={"q": secret()})
    stored.request("GET", "/agents/", params={"name": secret(), "query_text": secret()})
    stored.request(
        "GET",
        "/agents/",
        headers={
            "User-Agent": secret(),
            "x-project-id": secret(),
            "x-organization-id": secret(),
            "x-agent-id": secret(),
            "x-letta-source": secret(),
            "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
            "tracestate": f"vendor={secret()}",
            "baggage": f"user={secret()}",
        },
    )
    stored.request("POST", "/agents/", data=f"{{not json {secret()}")
    return planted


def test_no_secret_planted_through_the_api_reaches_the_store(stored: Stored) -> None:
    planted = plant(stored)
    last = secrets.token_hex(16)
    stored.request(
        "GET", "/tools/", headers={"traceparent": f"00-{last}-{secrets.token_hex(8)}-01"}
    )
    harness.expect(
        lambda: stored.spans(last) != [], timeout=30, what="the last request does not arrive"
    )

    dump = {
        table: "\n".join(map(str, stored.clickhouse.rows(f"SELECT * FROM {table}")))
        for table in TABLES
    }
    found = {
        (table, secret) for table, text in dump.items() for secret in planted if secret in text
    }
    assert len(planted) >= 40
    assert found == set()
    assert all(dump.values()), {table: len(text) for table, text in dump.items()}
    # The local log has what was removed: the secrets did go through the server.
    log = stored.server.execute("cat", f"{harness.VOLUME_PATH}/home/.letta/logs/Letta.log")
    assert any(secret in log for secret in planted)
