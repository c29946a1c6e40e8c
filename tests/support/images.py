"""Makes every image that a topology uses ready, so that the tests that run side by side find them: `python -m tests.support.images`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.engine import inspect
from letta_stack.image import server
from letta_stack.image.sources import Sources
from letta_stack.topology.catalogue import TOPOLOGIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def prepare(topologies: Iterable[str]) -> Mapping[str, str]:
    """Make or pull what the topologies need; return the variables that name the images."""
    chosen = [TOPOLOGIES[name] for name in topologies]
    pins = dict.fromkeys(pin for one in chosen for pin in one.images)
    image = server.image_name() if any(one.has_server for one in chosen) else ""
    sources = Sources.of(images="auto", otelcol="auto", letta_source="", ca="")
    return sources.prepare(list(pins), inspect.require(), server=image)


if __name__ == "__main__":
    prepare(TOPOLOGIES)
