"""The collector's configurations for the benchmark: ours as it is merged, and one with nothing in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from letta_stack.base.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

OTEL = ROOT / "otel"


def merged(*names: str) -> dict[str, Any]:
    """Merge configurations as the collector does: maps are merged, everything else is replaced."""

    def merge(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        for key, value in other.items():
            both = isinstance(value, dict) and isinstance(one.get(key), dict)
            one[key] = merge(one[key], value) if both else value
        return one

    result: dict[str, Any] = {}
    for name in names:
        merge(result, yaml.safe_load((OTEL / f"{name}.yaml").read_text(encoding="utf-8")))
    return result


def in_memory(configuration: dict[str, Any]) -> dict[str, Any]:
    """Take the queues off the disk."""
    for exporter in configuration["exporters"].values():
        exporter.get("sending_queue", {}).pop("storage", None)
    return configuration


def patient(configuration: dict[str, Any]) -> dict[str, Any]:
    """Give a store on a busy machine more time to answer: what is sent again would be measured as well."""
    configuration["exporters"].get("clickhouse", {})["timeout"] = "120s"
    return configuration


def bare(backend: str) -> dict[str, Any]:
    """Return a configuration with nothing between the receiver and the backend's exporter."""
    whole = patient(in_memory(merged("base", backend)))
    (exporter,) = whole["service"]["pipelines"]["traces"]["exporters"]
    return {
        "receivers": {"otlp": whole["receivers"]["otlp"]},
        "exporters": {exporter: whole["exporters"][exporter]},
        "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": [exporter]}}},
    }
