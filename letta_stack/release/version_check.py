"""Whether an image holds the Letta that its tag will name: by its metadata, and by its server's own answer."""

from __future__ import annotations

import re
import tarfile
from typing import TYPE_CHECKING

from letta_stack.errors import ContentBroken
from letta_stack.image import version as letta_version
from letta_stack.registry.layout import Layout
from letta_stack.release import trial_start
from letta_stack.topology.catalogue import HEALTH_PATH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from letta_stack.registry.oci import Image
    from letta_stack.release.tags import ImageVersion

METADATA = re.compile(
    r"(?:\./)?opt/letta/venv/lib/python[\d.]+/site-packages/letta-[^/]+\.dist-info/METADATA"
)


def check_metadata(image: Image, wanted: ImageVersion) -> None:
    """Check that the Letta inside each platform's image is the one that its tag will name."""
    found = {f"{name}: image metadata": installed_version(image, name) for name in image.platforms}
    letta_version.agree(wanted.letta, found)


def check_answer(path: Path, wanted: ImageVersion, say: Callable[[str], None]) -> None:
    """Start what was built and check that the server says the version that its tag will name."""
    with Layout(path) as layout:
        answer = trial_start.health_version(layout, say)
    if answer:
        letta_version.agree(wanted.letta, {HEALTH_PATH: answer})
        say(f"started once: {HEALTH_PATH} answers Letta {answer}")


def installed_version(image: Image, platform: str) -> str:
    """Read the installed metadata out of the layers, which needs no emulation; the last layer wins."""
    for layer in reversed(image.platforms[platform].blobs[1:]):
        with (
            image.content.open_blob(layer) as stream,
            tarfile.open(fileobj=stream, mode="r|*") as archive,
        ):
            for member in archive:
                if METADATA.fullmatch(member.name) is None:
                    continue
                content = archive.extractfile(member)
                text = content.read().decode() if content is not None else ""
                match = re.search(r"^Version: (\S+)$", text, re.MULTILINE)
                if match is not None:
                    return match[1]
    message = f"the image for {platform} has no Letta in it; build it again with --no-cache"
    raise ContentBroken(message)
