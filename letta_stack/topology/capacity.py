"""Whether the engine's machine has what a topology reserves, and the limits that it can give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from letta_stack.errors import AcceleratorMissing, TooFewResources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.engine.inspect import Engine

CPUS_VARIABLE = "LETTA_STACK_CPUS"
MOST_CPUS = 2  # of each server; the engine refuses a limit above what it has
GIB = 1024**3
NVIDIA = "nvidia"


def variables(engine: Engine) -> dict[str, str]:
    """Return what compose needs to know about a machine with fewer processors than the limits say."""
    if 0 < engine.processors < MOST_CPUS:
        return {CPUS_VARIABLE: str(engine.processors)}
    return {}


def check(config: Mapping[str, Any], expected: Mapping[str, int], engine: Engine) -> None:
    """Raise ``TooFewResources`` if the containers together reserve more memory than there is.

    ``config`` is the rendered model, ``expected`` the number of containers by service.
    """
    reserved = {
        name: reservation(body) * expected.get(name, 1) for name, body in config["services"].items()
    }
    total = sum(reserved.values())
    if engine.memory and total > engine.memory:
        largest = max(reserved, key=lambda name: reserved[name])
        raise TooFewResources(
            f"the services reserve {total / GIB:.1f} GiB, {expected.get(largest, 1)} x {largest} alone "
            f"{reserved[largest] / GIB:.1f}, but the engine has {engine.memory / GIB:.1f} GiB; give fewer --replicas"
        )


def check_accelerators(config: Mapping[str, Any], engine: Engine) -> None:
    """Raise ``AcceleratorMissing`` if a service reserves an NVIDIA GPU and the engine has none."""
    if engine.nvidia:
        return
    for name, body in config["services"].items():
        reserved = body.get("deploy", {}).get("resources", {}).get("reservations", {})
        if any(one.get("driver") == NVIDIA for one in reserved.get("devices") or []):
            raise AcceleratorMissing(
                f"{name} needs an NVIDIA GPU, and this engine has none (`docker info` lists no nvidia runtime); set up "
                "NVIDIA's Container Toolkit, or use a server of the OpenAI API that runs elsewhere: --llm-endpoint URL; "
                "LETTA_STACK_LLM_GPU=none with --llm ollama runs on the processor, slowly"
            )


def reservation(service: Mapping[str, Any]) -> int:
    """Return how many bytes of memory a service of the rendered model reserves for each container."""
    resources = service.get("deploy", {}).get("resources", {})
    return int(resources.get("reservations", {}).get("memory", 0))
