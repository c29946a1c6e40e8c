"""Where the collector sends to, and which of the files under /etc/otel make up its configuration: pure functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from . import environment
from .errors import BadSetting, PartialBackend

if TYPE_CHECKING:
    from collections.abc import Mapping

Phase = Literal["sending", "waiting", "draining"]

LOOPBACK = "127.0.0.1"
CONTENT = "LETTA_STACK_TELEMETRY_CONTENT"
SPANS = "LETTA_STACK_TELEMETRY_SPANS"
NUMBERS = "LETTA_STACK_TELEMETRY_NUMBERS"
LOGS = "LETTA_STACK_TELEMETRY_LOGS"
QUEUE = "LETTA_STACK_TELEMETRY_QUEUE"
PROMETHEUS = "LETTA_STACK_TELEMETRY_PROMETHEUS"
SERVICES = "LETTA_STACK_TELEMETRY_SERVICES"
PASSWORDLESS = "LETTA_STACK_CLICKHOUSE_PASSWORDLESS"
OTLP_CA = "LETTA_STACK_OTLP_CA"
OWN_ENDPOINT = "LETTA_OTEL_EXPORTER_OTLP_ENDPOINT"
GRPC_PORT = 4317
HTTP_PORT = 4318
METRICS_PORT = 8888

_DEFAULTS = {
    # The collector of 0.96.0 knows no defaults in ${VAR}, so they are set here.
    "CLICKHOUSE_DATABASE": "otel",
    "CLICKHOUSE_USERNAME": "default",
    "CLICKHOUSE_PASSWORD": "",
    "SIGNOZ_INSECURE": "false",
    "SIGNOZ_INGESTION_KEY": "",
    OTLP_CA: "",
    # Not empty: newer collectors take that for no value at all, and refuse it.
    "LETTA_ENVIRONMENT": "unknown",
    "LETTA_VERSION": "unknown",
    "OTEL_DIRECTORY": "/var/lib/letta/otel",
    "OTEL_LISTEN": LOOPBACK,
    "OTEL_SERVICE_LOGS": "/var/log/letta",
    "OTEL_LOG_FILES": "/var/lib/letta/home/.letta/logs/Letta.log",
    # Two thirds of the memory limiter's hard limit, so that the limiter rarely has to act.
    "GOMEMLIMIT": "256MiB",
}
_SEED_MEMORY = "680MiB"
_VERSION = re.compile(r"version v?(\d+)\.(\d+)\.")
_PINNED = (0, 96)
_READERS_SINCE = (0, 128)
_VARIABLES = (
    *("CLICKHOUSE_ENDPOINT", "SIGNOZ_ENDPOINT"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
_SWITCHES = (CONTENT, SPANS, NUMBERS, QUEUE, PROMETHEUS, SERVICES, PASSWORDLESS)


def backend(settings: Mapping[str, str]) -> str:
    """Return where telemetry goes: ClickHouse, else SigNoz, else files.

    Raises PartialBackend if half of a backend is set, and BadSetting for an endpoint that cannot work.
    """
    clickhouse = _clickhouse(settings)
    signoz = _signoz(settings)
    return "clickhouse" if clickhouse else "signoz" if signoz else "file"


def _clickhouse(settings: Mapping[str, str]) -> bool:
    endpoint = settings.get("CLICKHOUSE_ENDPOINT")
    password = settings.get("CLICKHOUSE_PASSWORD")
    passwordless = environment.flag(settings, PASSWORDLESS, default=False)
    if password and not endpoint:
        raise PartialBackend(
            "CLICKHOUSE_PASSWORD is set, CLICKHOUSE_ENDPOINT is not; set it, for instance to http://clickhouse:8123, "
            "or unset the password"
        )
    if not endpoint:
        return False
    if password and passwordless:
        raise BadSetting(f"{PASSWORDLESS} is true and CLICKHOUSE_PASSWORD is set; keep one of them")
    if not password and not passwordless:
        raise PartialBackend(
            "CLICKHOUSE_ENDPOINT is set, CLICKHOUSE_PASSWORD is not; set it, or set "
            f"{PASSWORDLESS}=true if the user has none"
        )
    # The server's own trace reader speaks HTTP only, and the exporter takes it as well.
    _web_address("CLICKHOUSE_ENDPOINT", endpoint, {"http": 8123, "https": 8443})
    return True


def _signoz(settings: Mapping[str, str]) -> bool:
    endpoint = settings.get("SIGNOZ_ENDPOINT")
    key = settings.get("SIGNOZ_INGESTION_KEY")
    insecure = environment.flag(settings, "SIGNOZ_INSECURE", default=False)
    authority = settings.get(OTLP_CA)
    if authority and not endpoint:
        raise PartialBackend(
            f"{OTLP_CA} is set, SIGNOZ_ENDPOINT is not; set it to the host:port that has a certificate of that authority, or "
            f"unset {OTLP_CA}"
        )
    if authority and insecure:
        raise BadSetting(f"SIGNOZ_INSECURE is true and {OTLP_CA} is set; keep one of them")
    if key and not endpoint:
        raise PartialBackend(
            "SIGNOZ_INGESTION_KEY is set, SIGNOZ_ENDPOINT is not; set it, for instance to "
            "ingest.eu.signoz.cloud:443, or unset the key"
        )
    if not endpoint:
        return False
    if not key and not insecure and not authority:
        raise PartialBackend(
            "SIGNOZ_ENDPOINT is set, SIGNOZ_INGESTION_KEY is not; set it, or set SIGNOZ_INSECURE=true for a SigNoz of "
            f"your own that has neither key nor TLS, or {OTLP_CA} for one with TLS of an authority of your own"
        )
    if "://" in endpoint or "/" in endpoint:
        bare = endpoint.rpartition("://")[2].strip("/")
        raise BadSetting(
            f"SIGNOZ_ENDPOINT must be host:port, not {endpoint!r}; write {_with_port(bare, GRPC_PORT)}"
        )
    if not _port_of(f"//{endpoint}"):
        raise BadSetting(
            f"SIGNOZ_ENDPOINT {endpoint!r} has no port; write {_with_port(endpoint, GRPC_PORT)}"
        )
    return True


def own_endpoint(settings: Mapping[str, str]) -> str | None:
    """Return the collector that takes the place of the embedded one. Raises BadSetting."""
    endpoint = settings.get(OWN_ENDPOINT)
    if not endpoint:
        return None
    _web_address(OWN_ENDPOINT, endpoint, {"http": GRPC_PORT, "https": GRPC_PORT})
    if _port_of(endpoint) == HTTP_PORT:
        raise BadSetting(
            f"{OWN_ENDPOINT} {endpoint!r} is the port of OTLP over HTTP, the server speaks gRPC; write "
            f"{endpoint.replace(str(HTTP_PORT), str(GRPC_PORT))}"
        )
    return endpoint


def _web_address(name: str, value: str, ports: Mapping[str, int]) -> None:
    """Raise BadSetting unless this is scheme://host:port with one of the schemes."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        rest = value
    host = urlsplit(f"//{rest}").hostname or "HOST"
    host = f"[{host}]" if ":" in host else host
    if not separator or scheme not in ports:
        expected = " or ".join(f"{one}://" for one in ports)
        raise BadSetting(
            f"{name} must begin with {expected}, not {value!r}; write http://{host}:{ports['http']}"
        )
    if not urlsplit(value).hostname or not _port_of(value):
        raise BadSetting(
            f"{name} must have host and port, not {value!r}; write {scheme}://{host}:{ports[scheme]}"
        )


def _port_of(address: str) -> int | None:
    try:
        return urlsplit(address).port
    except ValueError:
        return None


def _with_port(host: str, port: int) -> str:
    return host if _port_of(f"//{host}") else f"{host}:{port}"


def keeps_content(settings: Mapping[str, str]) -> bool:
    """Tell whether prompts, request bodies, arguments and results may leave. Raises BadSetting."""
    return _choice(settings, CONTENT, ("remove", "keep")) == "keep"


def for_prometheus(settings: Mapping[str, str]) -> bool:
    """Tell whether a Prometheus fetches metrics here. Raises BadSetting."""
    return environment.flag(settings, PROMETHEUS, default=False)


def configuration(settings: Mapping[str, str], phase: Phase = "sending") -> list[str]:
    """Return the names of the configuration's files, in the order in which they are merged.

    ``phase`` says what becomes of what comes in: it is sent; it is kept, waiting for a backend that does not answer; it is kept
    while the backend gets what was found at the start, draining. Raises PartialBackend, BadSetting.
    """
    name = backend(settings)
    seed = _choice(settings, NUMBERS, ("safe", "seed")) == "seed"
    if seed and name != "clickhouse":
        raise BadSetting(
            f"{NUMBERS}=seed is for ClickHouse, telemetry goes to {name}; unset it, or set CLICKHOUSE_ENDPOINT"
        )
    files = ["base", name]
    if seed:
        files.append("clickhouse-seed")
    if name != "file":
        files.append("kept")
    if phase != "sending":
        files.append("waiting")
    if phase == "draining":
        files.append(f"{name}-draining")
    if for_prometheus(settings):
        files.append("prometheus")
    if environment.flag(settings, SERVICES, default=False):
        files.append("services")
    if _choice(settings, SPANS, ("essential", "all")) == "all":
        files.append("spans-all")
    if keeps_content(settings):
        files.append("content-keep")
    return files


def version(said: str) -> tuple[int, int]:
    """Return which version a collector is, for what `--version` prints; the pinned one's if that says nothing."""
    found = _VERSION.search(said)
    return (int(found[1]), int(found[2])) if found else _PINNED


def own_metrics(said: str, listen: str) -> str:
    """Return the option that says where the collector's own metrics are, for what `--version` prints.

    It is no part of the files: each side of 0.128 refuses, or binds beside its own default, what the other one wants.
    """
    if version(said) >= _READERS_SINCE:
        reader = f"{{pull: {{exporter: {{prometheus: {{host: {listen}, port: {METRICS_PORT}}}}}}}}}"
        return f"--set=service.telemetry.metrics.readers=[{reader}]"
    return f"--set=service.telemetry.metrics.address={listen}:{METRICS_PORT}"


def _choice(settings: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = settings.get(name, choices[0]).strip().lower()
    if value not in choices:
        raise BadSetting(f"{name} must be {' or '.join(choices)}, not {settings[name]!r}")
    return value


def collector_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what the configuration's ${VAR} stand for, and nothing else. Raises BadSetting."""
    known = {**_DEFAULTS, **settings}
    result = {name: known[name] for name in (*_DEFAULTS, *_VARIABLES) if name in known}
    seed = _choice(settings, NUMBERS, ("safe", "seed")) == "seed"
    # One request of a server is at most 512 spans or a page of metrics.
    length = environment.number(settings, QUEUE, default=500 if seed else 1000, highest=100_000)
    result["OTEL_QUEUE_SIZE"] = str(length)
    insecure = environment.flag(settings, "SIGNOZ_INSECURE", default=False)
    result["SIGNOZ_INSECURE"] = "true" if insecure else "false"
    if "GOMEMLIMIT" not in settings and seed:
        result["GOMEMLIMIT"] = _SEED_MEMORY
    return result


def collector_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the collector's start reads: no other secret reaches its process."""
    names = {*_DEFAULTS, *_VARIABLES, *_SWITCHES}
    return {name: value for name, value in settings.items() if name in names}
