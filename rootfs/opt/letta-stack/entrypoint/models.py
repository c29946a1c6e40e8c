"""Language models of servers that are not vLLM, although they are reached as if they were: VLLM_API_BASE."""

from __future__ import annotations

import functools
import os
from typing import Any

CONTEXT = "LETTA_STACK_LLM_CONTEXT"
DEFAULT_CONTEXT = 32768


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
