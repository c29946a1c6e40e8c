"""Language models of other servers than OpenAI's: what they say and take differs, and some are strict."""

from __future__ import annotations

import functools
import os
from typing import Any

CONTEXT = "LETTA_STACK_LLM_CONTEXT"
DEFAULT_CONTEXT = 32768
ABOUT_TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})


def take_any_list_of_models(module: Any) -> None:
    """Let the address of vLLM be any server of the OpenAI API, also one that wants a key.

    letta/llm_api/openai.py, openai_get_model_list_async: vLLM alone says how many tokens a model takes, and without that
    letta/schemas/providers/vllm.py drops the whole list. It asks for the list without the key that it sends with every
    message (upstream issue 3385).
    """
    original = module.openai_get_model_list_async

    @functools.wraps(original)
    async def listed(url: str, api_key: str | None = None, **options: Any) -> Any:
        base = os.environ.get("VLLM_API_BASE")
        if not base or not url.startswith(base):
            return await original(url, api_key=api_key, **options)
        key = api_key or os.environ.get("OPENAI_API_KEY")
        answer = await original(url, api_key=key, **options)
        for model in answer["data"]:
            model.setdefault("max_model_len", int(os.environ[CONTEXT]))
        return answer

    module.openai_get_model_list_async = listed


def offer_no_empty_list_of_tools(module: Any) -> None:
    """Say nothing about tools for an agent that has none.

    letta/llm_api/openai_client.py, build_request_data: sends an empty list and a choice that is null, which OpenAI and the
    strict ones of the other servers refuse with 400. Every request goes through this function right before it is sent.
    """
    original = module.sanitize_unicode_surrogates

    @functools.wraps(original)
    def sanitized(request: Any) -> Any:
        if isinstance(request, dict) and not request.get("tools"):
            request = {name: value for name, value in request.items() if name not in ABOUT_TOOLS}
        return original(request)

    module.sanitize_unicode_surrogates = sanitized
