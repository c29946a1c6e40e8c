"""Where telemetry goes: the rule, what it refuses, and the files that it chooses."""

from __future__ import annotations

import re

import pytest
import yaml
from entrypoint import telemetry
from entrypoint.errors import BadSetting, PartialBackend

from letta_stack.base.paths import ROOT

CLICKHOUSE = {"CLICKHOUSE_ENDPOINT": "http://c:8123", "CLICKHOUSE_PASSWORD": "x"}
SIGNOZ = {"SIGNOZ_ENDPOINT": "s:4317", "SIGNOZ_INGESTION_KEY": "x"}
FILES = sorted(path.stem for path in (ROOT / "otel").glob("*.yaml"))


@pytest.mark.parametrize(
    ("settings", "backend"),
    [
        ({}, "file"),
        (CLICKHOUSE, "clickhouse"),
        (SIGNOZ, "signoz"),
        (CLICKHOUSE | SIGNOZ, "clickhouse"),
        ({"SIGNOZ_ENDPOINT": "s:4317", "SIGNOZ_INSECURE": "yes"}, "signoz"),
        ({"SIGNOZ_ENDPOINT": "s:4317", "LETTA_STACK_OTLP_CA": "/ca.pem"}, "signoz"),
        (
            {
                "CLICKHOUSE_ENDPOINT": "https://c:8443",
                "LETTA_STACK_CLICKHOUSE_PASSWORDLESS": "true",
            },
            "clickhouse",
        ),
    ],
)
def test_clickhouse_goes_before_signoz_before_files(settings: dict[str, str], backend: str) -> None:
    assert telemetry.backend(settings) == backend
    assert telemetry.configuration(settings)[:2] == ["base", backend]


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"CLICKHOUSE_ENDPOINT": "http://c:8123"}, "PASSWORDLESS=true"),
        ({"CLICKHOUSE_PASSWORD": "x"}, "http://clickhouse:8123"),
        ({"SIGNOZ_ENDPOINT": "s:4317"}, "SIGNOZ_INSECURE=true"),
        ({"LETTA_STACK_OTLP_CA": "/ca.pem"}, "unset LETTA_STACK_OTLP_CA"),
        ({"SIGNOZ_INGESTION_KEY": "x"}, "ingest.eu.signoz.cloud:443"),
        (CLICKHOUSE | {"SIGNOZ_INGESTION_KEY": "x"}, "unset the key"),
    ],
)
def test_half_a_backend_is_refused_with_the_other_half(settings: dict[str, str], fix: str) -> None:
    with pytest.raises(PartialBackend, match=re.escape(fix)):
        telemetry.backend(settings)


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"CLICKHOUSE_ENDPOINT": "tcp://c:9000"}, "write http://c:8123"),
        ({"CLICKHOUSE_ENDPOINT": "clickhouse://u:p@c:9000/x"}, "write http://c:8123"),
        ({"CLICKHOUSE_ENDPOINT": "c:8123"}, "write http://c:8123"),
        ({"CLICKHOUSE_ENDPOINT": "http://c"}, "write http://c:8123"),
        ({"CLICKHOUSE_ENDPOINT": "https://c"}, "write https://c:8443"),
        ({"CLICKHOUSE_ENDPOINT": "http://c:port"}, "write http://c:8123"),
        ({"CLICKHOUSE_ENDPOINT": "tcp://[::1]:9000"}, "write http://[::1]:8123"),
    ],
)
def test_an_address_of_clickhouse_that_cannot_work_is_refused(
    settings: dict[str, str], fix: str
) -> None:
    with pytest.raises(BadSetting, match=re.escape(fix) + "$"):
        telemetry.backend(settings | {"CLICKHOUSE_PASSWORD": "x"})


@pytest.mark.parametrize(
    ("endpoint", "fix"),
    [
        ("https://ingest.us.signoz.cloud:443", "write ingest.us.signoz.cloud:443"),
        ("tcp://signoz:4317/", "write signoz:4317"),
        ("http://signoz", "write signoz:4317"),
        ("signoz", "write signoz:4317"),
    ],
)
def test_an_address_of_signoz_that_cannot_work_is_refused(endpoint: str, fix: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(fix) + "$"):
        telemetry.backend({"SIGNOZ_ENDPOINT": endpoint, "SIGNOZ_INGESTION_KEY": "x"})


@pytest.mark.parametrize(
    ("endpoint", "fix"),
    [
        ("collector:4317", "write http://collector:4317"),
        ("tcp://collector:4317", "write http://collector:4317"),
        ("http://collector", "write http://collector:4317"),
        ("http://collector:4318", "write http://collector:4317"),
    ],
)
def test_an_own_collector_that_the_server_cannot_use_is_refused(endpoint: str, fix: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(fix) + "$"):
        telemetry.own_endpoint({"LETTA_OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})


def test_an_own_collector_goes_on_working() -> None:
    assert telemetry.own_endpoint({}) is None
    for endpoint in ("http://collector:4317", "https://otel.example.org:443"):
        settings = {"LETTA_OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        assert telemetry.own_endpoint(settings) == endpoint


def test_overlays_come_after_what_they_change() -> None:
    settings = CLICKHOUSE | {
        "LETTA_STACK_TELEMETRY_NUMBERS": "seed",
        "LETTA_STACK_TELEMETRY_CONTENT": "Keep",
    }

    assert telemetry.configuration(settings, "waiting") == [
        *("base", "clickhouse", "clickhouse-seed", "kept", "waiting", "content-keep")
    ]
    assert telemetry.collector_environment(settings)["GOMEMLIMIT"] == "680MiB"
    assert telemetry.configuration(SIGNOZ, "draining") == [
        *("base", "signoz", "kept", "waiting", "signoz-draining")
    ]
    assert telemetry.configuration({}) == ["base", "file"]


@pytest.mark.parametrize(
    "settings",
    [
        {"LETTA_STACK_TELEMETRY_NUMBERS": "seed"},
        CLICKHOUSE | {"LETTA_STACK_TELEMETRY_NUMBERS": "fast"},
        {"LETTA_STACK_TELEMETRY_CONTENT": "yes"},
        CLICKHOUSE | {"LETTA_STACK_CLICKHOUSE_PASSWORDLESS": "true"},
    ],
)
def test_a_switch_that_means_nothing_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(BadSetting):
        telemetry.configuration(settings)


@pytest.mark.parametrize("value", ["0", "many", "100001"])
def test_the_length_of_the_queue_is_a_number(value: str) -> None:
    with pytest.raises(BadSetting, match="LETTA_STACK_TELEMETRY_QUEUE"):
        telemetry.collector_environment({"LETTA_STACK_TELEMETRY_QUEUE": value})


def test_the_collector_gets_no_secret_that_is_not_its_own() -> None:
    settings = {"OPENAI_API_KEY": "s", "LETTA_PG_URI": "s", "CLICKHOUSE_PASSWORD": "c"}

    assert telemetry.collector_settings(settings) == {"CLICKHOUSE_PASSWORD": "c"}
    assert "s" not in telemetry.collector_environment(settings).values()
    assert telemetry.collector_environment(settings)["CLICKHOUSE_DATABASE"] == "otel"


@pytest.mark.parametrize("name", FILES)
def test_every_variable_of_a_configuration_is_handed_to_it(name: str) -> None:
    # Unknown ones would silently become empty strings.
    code = "\n".join(
        line.partition("# ")[0]
        for line in (ROOT / f"otel/{name}.yaml").read_text(encoding="utf-8").splitlines()
    )
    used = set(re.findall(r"\$\{(\w+)\}", code))

    assert used <= telemetry.collector_environment(dict.fromkeys(used, "1")).keys()
    # `$$` is a literal one, for the end of a regular expression.
    assert "$" not in re.sub(r"\$\{\w+\}|\$\$", "", code)


@pytest.mark.parametrize("settings", [{}, CLICKHOUSE, SIGNOZ])
def test_every_signal_loses_its_content_before_it_goes_anywhere(settings: dict[str, str]) -> None:
    merged: dict[str, list[str]] = {}
    for name in telemetry.configuration(settings):
        loaded = yaml.safe_load((ROOT / f"otel/{name}.yaml").read_text(encoding="utf-8"))
        for pipeline, parts in loaded["service"].get("pipelines", {}).items():
            merged[pipeline] = parts.get("processors", merged.get(pipeline, []))

    for signal in ("traces", "metrics", "logs"):
        assert merged[signal][0] == "memory_limiter"
        assert merged[signal][-1] == "transform/content"


def test_an_authority_and_no_tls_contradict_each_other() -> None:
    settings = {
        "SIGNOZ_ENDPOINT": "s:4317",
        "SIGNOZ_INSECURE": "true",
        "LETTA_STACK_OTLP_CA": "/ca.pem",
    }

    with pytest.raises(BadSetting, match="keep one of them"):
        telemetry.backend(settings)


@pytest.mark.parametrize("said", ["otelcol-contrib version 0.96.0\n", "version v0.127.3", ""])
def test_an_old_collector_is_told_the_address_of_its_own_metrics(said: str) -> None:
    option = telemetry.own_metrics(said, "127.0.0.1")

    assert option == "--set=service.telemetry.metrics.address=127.0.0.1:8888"


@pytest.mark.parametrize("said", ["otelcol-contrib version 0.128.0\n", "version 1.0.0"])
def test_a_newer_one_that_refuses_the_address_is_given_a_reader(said: str) -> None:
    option, _, value = telemetry.own_metrics(said, "0.0.0.0").partition("=")

    assert option == "--set"
    path, _, reader = value.partition("=")
    assert path == "service.telemetry.metrics.readers"
    assert yaml.safe_load(reader) == [
        {"pull": {"exporter": {"prometheus": {"host": "0.0.0.0", "port": 8888}}}}
    ]


def test_logs_of_services_are_read_only_where_that_is_asked_for() -> None:
    settings = CLICKHOUSE | {"LETTA_STACK_TELEMETRY_SERVICES": "true"}

    assert "services" not in telemetry.configuration(CLICKHOUSE)
    assert telemetry.configuration(settings) == ["base", "clickhouse", "kept", "services"]
    assert telemetry.collector_environment(settings)["OTEL_SERVICE_LOGS"] == "/var/log/letta"


def test_what_waits_for_clickhouse_is_changed_when_it_leaves_and_not_twice() -> None:
    waiting = yaml.safe_load((ROOT / "otel/waiting.yaml").read_text(encoding="utf-8"))

    for pipeline in waiting["service"]["pipelines"].values():
        assert not any(one.startswith(("transform", "resource")) for one in pipeline["processors"])
