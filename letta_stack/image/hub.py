"""Whether a registry gives an image, and what it says if it does not."""

from __future__ import annotations

import functools

from letta_stack.base import process

# A registry that answers does so at once; one behind a firewall that drops packets never does.
REGISTRY_SECONDS = 20.0


@functools.cache
def unavailable(reference: str, platforms: tuple[str, ...]) -> str:
    """Return why the engine cannot get an image for all platforms, "" if it can.

    BuildKit answers that without downloading a layer, with the engine's own mirrors, proxies and credentials, and
    knows what is on the engine already.
    """
    question = ["docker", "buildx", "build", "--quiet", "--provenance=false"]
    question += ["--output=type=cacheonly", f"--platform={','.join(platforms)}", "-"]
    answer = process.probe(question, stdin=f"FROM {reference}\n", timeout=REGISTRY_SECONDS)
    if answer.ok:
        return ""
    return reason_of(answer.stderr)


def reason_of(stderr: str) -> str:
    """Take the cause out of what buildx writes: the end of its last error line."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    error = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "")
    return (
        error.removeprefix("ERROR: ").rpartition("failed to do request: ")[2] or "no reason given"
    )
