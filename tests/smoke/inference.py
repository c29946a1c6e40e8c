"""vLLM's replacement in the tests: a simulator with its API, under the name of its image."""

from __future__ import annotations

import functools
import os

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.image import sources, third_party

TAG = "letta-stack/test-inference-sim"
CONTEXT = ROOT / "tests" / "smoke" / "inference-sim"
BASES = ("DEBIAN_IMAGE", "GOLANG_IMAGE")
MODEL = "simulated/model-7b"
CONTEXT_LENGTH = 20000


@functools.cache
def image() -> str:
    """Build the simulator's image, if it is not there; return its name."""
    ca = sources.find_ca("", os.environ)
    bases = third_party.ensure(BASES, source="auto", ca=ca)
    process.run(
        [
            *("docker", "build", "--quiet", "--tag", TAG, *third_party.ca_secret(ca)),
            *(f"--build-arg={name}={reference}" for name, reference in bases.items()),
            *(f"--build-context=images={ROOT / 'images' / 'bin'}", str(CONTEXT)),
        ]
    )
    return TAG


def environment() -> dict[str, str]:
    """Return the settings with which the topology runs the simulator in vLLM's place, without a GPU."""
    return {
        "VLLM_IMAGE": image(),
        "LETTA_STACK_LLM": "vllm",
        "LETTA_STACK_LLM_ENDPOINT": "",
        "LETTA_STACK_LLM_GPU": "none",
        "LETTA_STACK_LLM_MODEL": MODEL,
        "LETTA_STACK_LLM_CONTEXT": str(CONTEXT_LENGTH),
    }
