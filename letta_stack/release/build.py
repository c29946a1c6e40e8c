"""The build that a release is made of: for which platforms, into which file, on which machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.flags import choice
from letta_stack.engine import disk, inspect
from letta_stack.errors import BuilderUnfit
from letta_stack.image import server
from letta_stack.image.sources import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.base.git import Checkout
    from letta_stack.image.server import Request
    from letta_stack.image.sources import Sources

# The compressed image of one platform has about half of this.
BYTES_PER_PLATFORM = 1_000_000_000


def request_of(sources: Sources, platforms: Sequence[str], *, no_cache: bool) -> Request:
    """Return what to build: both platforms, unless the user names some."""
    named = [one for text in platforms for one in text.split(",")] or list(PLATFORMS)
    return server.Request(
        platforms=tuple(dict.fromkeys(choice("--platform", one, PLATFORMS) for one in named)),
        images=sources.images,
        otelcol=sources.otelcol,
        letta_source=sources.letta_source,
        ca=sources.ca,
        no_cache=no_cache,
    )


def output_options(path: str, found: Checkout) -> list[str]:
    """Return the options of buildx that give a file whose digest depends on the inputs alone.

    A file, because the engine's own builder cannot push by digest. ``SOURCE_DATE_EPOCH`` is for the configuration; the
    Dockerfile sees to the layers (images/bin/clamp-times), where the commit's time would make every layer new. Compression
    is forced, because a builder otherwise takes what it has: zstd if the image was loaded into the engine before.
    """
    return [
        f"--build-arg=SOURCE_DATE_EPOCH={found.epoch}",
        f"--output=type=oci,dest={path},force-compression=true",
    ]


def check_machine(request: Request) -> None:
    """Raise if the engine, its disk or the chosen builder cannot do the build."""
    disk.check(inspect.require(), build=True)
    check_builder(request)


def check_builder(request: Request) -> None:
    """Raise ``BuilderUnfit`` if the chosen builder cannot see the images that it has to build from."""
    text = process.capture(["docker", "buildx", "inspect"])
    driver = re.search(r"^Driver:\s*(\S+)", text, re.MULTILINE)
    if driver is None or driver[1] == "docker":
        return
    _, plan = server.decide(request)
    if plan.rebuilt:
        message = (
            f"the chosen builder ({driver[1]}) does not see the images on the engine, which stand for "
            f"{', '.join(plan.rebuilt)}; use the engine's own with BUILDX_BUILDER=default, or --images hub"
        )
        raise BuilderUnfit(message)


def inputs(request: Request) -> str:
    """Return the hash of everything that goes into the image beside the commit, with every ``auto`` decided.

    It does not depend on which platforms are built together.
    """
    otelcol, plan = server.decide(request)
    references = (f"{pin}={reference}" for pin, reference in sorted(plan.references.items()))
    return request.content((otelcol, *references))
