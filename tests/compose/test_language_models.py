"""The variants of `vllm`: what runs, what it is told, and how the server finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from letta_stack.pins.file import Pins
from letta_stack.policy import lint
from letta_stack.topology.catalogue import SERVER

Render = Callable[..., dict[str, Any]]

MODEL = "letta-llm"
PINS = Pins.load()
ENDPOINT = "https://llm.example/v1"


def reserved(service: dict[str, Any]) -> list[dict[str, Any]]:
    devices: list[dict[str, Any]] = (
        service["deploy"]["resources"].get("reservations", {}).get("devices", [])
    )
    return devices


def providers(model: dict[str, Any]) -> dict[str, str]:
    """Return the addresses of language models that the server knows."""
    environment = model["services"][SERVER]["environment"]
    return {
        name: environment[name]
        for name in ("OLLAMA_BASE_URL", "OPENAI_BASE_URL", "VLLM_API_BASE")
        if environment[name]
    }


def test_vllm_serves_what_the_settings_say_and_takes_tools(render: Render) -> None:
    model = render(
        "vllm",
        LETTA_STACK_LLM_MODEL="me/model",
        LETTA_STACK_LLM_CONTEXT="8192",
        LETTA_STACK_LLM_TOOL_PARSER="llama3_json",
        LETTA_STACK_LLM_GPUS="2",
        LETTA_STACK_LLM_GPU_MEMORY="0.5",
        LETTA_STACK_LLM_MEMORY="8g",
    )
    service = model["services"][MODEL]

    assert service["entrypoint"] == ["vllm", "serve"]
    assert service["command"] == [
        "me/model",
        "--port=8000",
        "--max-model-len=8192",
        "--enable-auto-tool-choice",
        "--tool-call-parser=llama3_json",
        "--tensor-parallel-size=2",
        "--gpu-memory-utilization=0.5",
    ]
    assert reserved(service) == [{"driver": "nvidia", "count": 2, "capabilities": ["gpu"]}]
    assert service["deploy"]["resources"]["limits"]["memory"] == str(8 * 2**30)
    assert providers(model) == {"VLLM_API_BASE": "http://letta-llm:8000"}


def test_ollama_serves_what_the_settings_say(render: Render) -> None:
    chosen = {"LETTA_STACK_LLM": "ollama", "LETTA_STACK_LLM_MODEL": "llama3.2:3b"}
    model = render("vllm", **chosen, LETTA_STACK_LLM_CONTEXT="8192")
    service = model["services"][MODEL]

    assert service["image"] == PINS["OLLAMA_IMAGE"]
    assert service["command"] == ["llama3.2:3b"]
    assert service["healthcheck"]["test"] == ["CMD", "ollama", "show", "llama3.2:3b"]
    assert service["environment"]["OLLAMA_CONTEXT_LENGTH"] == "8192"
    assert reserved(service) == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert providers(model) == {"OLLAMA_BASE_URL": "http://letta-llm:11434"}
    assert model["services"][SERVER]["environment"]["GLOBAL_MAX_CONTEXT_WINDOW_LIMIT"] == "8192"


@pytest.mark.parametrize(
    ("kind", "variable"), [("vllm", "VLLM_API_BASE"), ("ollama", "OLLAMA_BASE_URL")]
)
def test_with_an_endpoint_nothing_but_the_server_runs(
    kind: str, variable: str, render: Render
) -> None:
    model = render("vllm", LETTA_STACK_LLM=kind, LETTA_STACK_LLM_ENDPOINT=ENDPOINT)

    assert list(model["services"]) == [SERVER]
    assert providers(model) == {variable: ENDPOINT}
    assert "depends_on" not in model["services"][SERVER]


@pytest.mark.parametrize("kind", ["vllm", "ollama"])
def test_without_a_gpu_nothing_is_reserved(kind: str, render: Render) -> None:
    model = render("vllm", LETTA_STACK_LLM=kind, LETTA_STACK_LLM_GPU="none")

    assert reserved(model["services"][MODEL]) == []


@pytest.mark.parametrize("kind", ["vllm", "ollama"])
def test_the_server_waits_for_the_model_and_a_download_may_take_its_time(
    kind: str, render: Render
) -> None:
    services = render("vllm", LETTA_STACK_LLM=kind)["services"]

    assert services[SERVER]["depends_on"][MODEL]["condition"] == "service_healthy"
    assert services[MODEL]["healthcheck"]["start_period"] == "2h0m0s"
    (volume,) = [one for one in services[MODEL]["volumes"] if one["type"] == "volume"]
    assert (volume["source"], volume["target"]) == (
        "models",
        services[MODEL]["environment"]["HOME"],
    )
    assert not services[MODEL].get("ports")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LETTA_STACK_LLM": "ollama"},
        {"LETTA_STACK_LLM_GPU": "none"},
        {"LETTA_STACK_LLM_ENDPOINT": ENDPOINT},
    ],
    ids=str,
)
def test_every_variant_keeps_to_the_policy(variables: dict[str, str], render: Render) -> None:
    findings = lint.check("vllm", render("vllm", **variables))

    # The one of every topology in which s6 starts the server.
    assert [(one.service, one.rule.name) for one in findings] == [(SERVER, "user")]
    lint.verdict(findings)
