"""The lists of variables in compose/services/server.yaml and nginx.yaml against everything that reads them."""

from __future__ import annotations

import ast
import re

import yaml
from entrypoint import database

from letta_stack.base.paths import ROOT
from letta_stack.topology import signed
from letta_stack.topology.catalogue import GATEWAY, SERVER

ENTRYPOINT = ROOT / "rootfs/opt/letta-stack/entrypoint"
SETTING = re.compile(r"(LETTA|CLICKHOUSE|SIGNOZ|OTEL)_[A-Z0-9_]*[A-Z0-9]")
SETTING_OF_STACK = re.compile(r"LETTA_STACK_[A-Z_]*[A-Z]")
# One step of the start writes them for the next.
INTERNAL = {"LETTA_STACK_COLLECTOR", "LETTA_STACK_REDIS_CA", "LETTA_STACK_STARTED"}
# compose/services/hot.yaml and the overlays set them; elsewhere they would be of no use.
HOT = {"LETTA_STACK_DEBUG", "LETTA_STACK_RELOAD", "LETTA_STACK_USER"}
# compose/services/logs.yaml sets it for the collector alone.
LOGS = {"LETTA_STACK_TELEMETRY_SERVICES"}
# compose/services/nginx.yaml sets it: elsewhere nobody would ask there.
GATEWAYS = {"LETTA_STACK_READY_PORT"}
# The collector's start sets them itself.
COLLECTORS = {
    "LETTA_VERSION",
    "OTEL_DIRECTORY",
    "OTEL_LISTEN",
    "OTEL_LOG_FILES",
    "OTEL_QUEUE_SIZE",
    "OTEL_SERVICE_LOGS",
}
COMMANDS = {signed.VARIABLE}  # what no container needs to know


def passed() -> set[str]:
    names = ("services/server", "services/hot", "overlays/debug")
    fragments = [ROOT / f"compose/{name}.yaml" for name in names]
    models = [yaml.safe_load(path.read_text()) for path in fragments]
    return {name for one in models for name in one["services"][SERVER]["environment"]}


def passed_to_gateway() -> set[str]:
    fragments = [
        ROOT / f"compose/{name}.yaml"
        for name in ("services/nginx", "services/logs", "overlays/tls")
    ]
    # Compose's own tags (!override) say how to merge, which is of no interest here.
    models = [yaml.safe_load(path.read_text().replace("!override", "")) for path in fragments]
    return {name for one in models for name in one["services"][GATEWAY.name]["environment"]}


def test_what_the_gateway_reads_is_passed_and_described() -> None:
    read = set(SETTING_OF_STACK.findall((ROOT / "compose/nginx/start").read_text()))
    described = set(SETTING_OF_STACK.findall((ROOT / "docs/gateway.md").read_text()))

    assert read == passed_to_gateway()
    ports = {"LETTA_STACK_PORT", "LETTA_STACK_HTTP_PORT"}  # compose's business
    assert read | {"LETTA_STACK_STATIC_DIR"} | ports == described


def test_what_the_start_code_reads_is_passed() -> None:
    constants = {
        node.value
        for path in ENTRYPOINT.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    read = (
        {value for value in constants if SETTING.fullmatch(value)}
        - INTERNAL
        - COLLECTORS
        - HOT
        - LOGS
        - GATEWAYS
    )

    assert {"LETTA_ENVIRONMENT", "SIGNOZ_INSECURE"} < read
    assert read | set(database.PARTS) <= passed()


def test_what_the_collector_reads_is_passed() -> None:
    configurations = "".join(path.read_text() for path in ROOT.glob("otel/*.yaml"))
    lines = [line for line in configurations.splitlines() if not line.lstrip().startswith("#")]
    read = set(re.findall(r"\$\{(?:env:)?([A-Z_0-9]+)", "\n".join(lines)))

    assert "CLICKHOUSE_DATABASE" in read
    assert read <= passed() | COLLECTORS


def test_what_the_example_names_is_passed_or_is_composes_own() -> None:
    example = set(re.findall(r"(?m)^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text()))
    fragments = "".join(path.read_text() for path in ROOT.glob("compose/**/*.yaml"))
    interpolated = set(re.findall(r"\$\{([A-Z0-9_]+)", fragments))

    assert "OLLAMA_BASE_URL" in example
    assert example <= passed() | passed_to_gateway() | interpolated | COMMANDS
