"""vLLM's replacement in the tests: a simulator with its API, under the name of its image."""

from __future__ import annotations

from tests.smoke import modules

SIMULATOR = "inference-sim"
MODEL = "simulated/model-7b"
CONTEXT_LENGTH = 20000


def environment() -> dict[str, str]:
    """Return the settings with which the topology runs the simulator in vLLM's place, without a GPU."""
    return {
        "VLLM_IMAGE": modules.image(SIMULATOR),
        "LETTA_STACK_LLM": "vllm",
        "LETTA_STACK_LLM_ENDPOINT": "",
        "LETTA_STACK_LLM_GPU": "none",
        "LETTA_STACK_LLM_MODEL": MODEL,
        "LETTA_STACK_LLM_CONTEXT": str(CONTEXT_LENGTH),
    }
