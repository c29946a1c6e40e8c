from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from entrypoint import models
from entrypoint.errors import BadSetting
from entrypoint.plan import make_plan

VLLM = "http://gpu:8000/v1"


def listed(url: str, rows: list[dict[str, Any]], key: str | None = None) -> list[Any]:
    """Return the key with which the patched function asks, and the list that it gives."""
    asked: list[Any] = []

    async def original(url: str, api_key: str | None = None, **options: Any) -> dict[str, Any]:
        asked.extend([api_key, options])
        return {"object": "list", "data": rows}

    module = SimpleNamespace(openai_get_model_list_async=original)
    models.take_any_list_of_models(module)
    answer = asyncio.run(module.openai_get_model_list_async(url, api_key=key, extra_params=None))
    assert asked[1] == {"extra_params": None}
    return [asked[0], answer["data"]]


@pytest.fixture(autouse=True)
def server_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_BASE", "http://gpu:8000")
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    monkeypatch.setenv("LETTA_STACK_LLM_CONTEXT", "8192")


def test_a_model_without_a_length_gets_the_setting_and_others_keep_theirs() -> None:
    rows: list[dict[str, Any]] = [{"id": "a"}, {"id": "b", "max_model_len": 4096}]

    assert listed(f"{VLLM}/models", rows) == [
        "key",
        [{"id": "a", "max_model_len": 8192}, {"id": "b", "max_model_len": 4096}],
    ]


def test_a_key_that_is_given_is_the_one_that_is_sent() -> None:
    assert listed(VLLM, [], key="own")[0] == "own"


def test_the_list_of_another_provider_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed("https://other.example/v1", [{"id": "a"}]) == [None, [{"id": "a"}]]
    monkeypatch.delenv("VLLM_API_BASE")
    assert listed(VLLM, [{"id": "a"}]) == [None, [{"id": "a"}]]


def test_a_request_without_tools_says_nothing_about_tools() -> None:
    module = SimpleNamespace(sanitize_unicode_surrogates=lambda request: ("sent", request))
    models.offer_no_empty_list_of_tools(module)
    send = module.sanitize_unicode_surrogates
    tools = {"tools": [{}], "tool_choice": "auto", "parallel_tool_calls": False}

    empty: dict[str, Any] = {
        "model": "a",
        "tools": [],
        "tool_choice": None,
        "parallel_tool_calls": False,
    }
    assert send(empty) == ("sent", {"model": "a"})
    assert send({"model": "a", **tools}) == ("sent", {"model": "a", **tools})
    assert send(["text"]) == ("sent", ["text"])


def test_the_length_is_a_number() -> None:
    assert make_plan({}).context == models.DEFAULT_CONTEXT
    assert make_plan({"LETTA_STACK_LLM_CONTEXT": "16384"}).context == 16384
    with pytest.raises(BadSetting, match="LETTA_STACK_LLM_CONTEXT must be a whole number"):
        make_plan({"LETTA_STACK_LLM_CONTEXT": "16k"})
