"""What a release sends to its registry, ours and upstream's: the bytes that arrive at a real one.

Ours is pushed as it is released, by `inv build --push`; upstream's by `docker push`, which sends what its workflow's
`buildx build --push` sends.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from tests.release import support

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEGABYTE = 1_000_000


@contextlib.contextmanager
def registry() -> Iterator[str]:
    """Run a registry; give its ``HOST:PORT``."""
    with support.registry_container(support.registry_image()) as host:
        yield host


def ours(host: str, source: Path, platforms: tuple[str, ...], revision: int) -> float:
    """Release the build of ``source`` as a revision; return the megabytes that arrived."""
    before = received(host)
    process.capture(
        [
            *(sys.executable, "-m", "invoke", "build", "--push", "--allow-dirty"),
            *(f"--repository={host}/bench/ours-{len(platforms)}", f"--revision={revision}"),
            *(f"--letta-source={source}", f"--platform={','.join(platforms)}"),
        ],
        cwd=ROOT,
    )
    return (received(host) - before) / MEGABYTE


def upstream(host: str, image: str, platforms: tuple[str, ...], revision: int) -> float:
    """Push an image of the engine under a tag of its own; return the megabytes that arrived."""
    before = received(host)
    name = f"{host}/bench/upstream-{len(platforms)}:{revision}"
    process.capture(["docker", "tag", image, name])
    try:
        process.capture(["docker", "push", "--quiet", name])
    finally:
        process.capture(["docker", "image", "rm", name])
    return (received(host) - before) / MEGABYTE


def received(host: str) -> int:
    """Return how many bytes have reached the registry's network interface."""
    return int(support.execute(host, "cat", "/sys/class/net/eth0/statistics/rx_bytes"))
