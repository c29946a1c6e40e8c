"""What must be there before a topology can start: the server's image, and the images that run beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base.flags import choice
from letta_stack.engine import disk
from letta_stack.errors import BadValue, ImageUnavailable
from letta_stack.image import third_party
from letta_stack.image.server import IMAGE_VARIABLE, build_server, default_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.engine.inspect import Engine

IMAGE_SOURCES = ("auto", "hub", "debian")
OTELCOL_SOURCES = ("auto", "release", "build")
PLATFORMS = ("linux/amd64", "linux/arm64")
CA_VARIABLES = ("LETTA_STACK_CA", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Sources:
    """Where everything that goes into images comes from: the flags that `up` and `build` share."""

    images: str
    otelcol: str
    letta_source: Path | None
    ca: Path | None

    @classmethod
    def of(cls, *, images: str, otelcol: str, letta_source: str, ca: str) -> Sources:
        """Check what the user gave."""
        return cls(
            images=choice("--images", images, IMAGE_SOURCES),
            otelcol=choice("--otelcol", otelcol, OTELCOL_SOURCES),
            letta_source=source_directory(letta_source) if letta_source else None,
            ca=find_ca(ca, os.environ),
        )

    def prepare(
        self, pins: Sequence[str], engine: Engine, *, server: str = "", pulled: Sequence[str] = ()
    ) -> dict[str, str]:
        """Make or pull what is missing: the images behind ``pins``, and the server's image if ``server`` names it.

        An image of the user's own is used as it is. ``pulled`` are the images that only a registry has. Returns the
        compose variables that name the images.

        Raises:
            ImageUnavailable: the user's own image is not on the engine, or one of ``pulled`` cannot be had.

        """
        for reference in pulled:
            third_party.pull(reference, source=self.images)
        if server:
            there = third_party.is_local(server)
            if server == default_image():
                if not there:
                    disk.check(engine, build=True)
                self.build()
            elif not there:
                raise ImageUnavailable(
                    f"{IMAGE_VARIABLE} names {server}, which is not on this engine; pull it with "
                    f"`docker pull`, or make it: {IMAGE_VARIABLE}={server} inv build"
                )
        return third_party.ensure(pins, source=self.images, ca=self.ca)

    def build(
        self, platforms: Sequence[str] = (), *, no_cache: bool = False, dry_run: bool = False
    ) -> None:
        """Build the server's image and load it; nothing is done if its inputs have not changed."""
        wanted = [one for text in platforms for one in text.split(",")]
        build_server(
            platforms=[choice("--platform", one, PLATFORMS) for one in wanted],
            letta_source=self.letta_source,
            images=self.images,
            otelcol=self.otelcol,
            ca=self.ca,
            no_cache=no_cache,
            dry_run=dry_run,
        )


def source_directory(text: str) -> Path:
    """Return the directory of `--letta-source`."""
    path = Path(text).resolve()
    if not path.is_dir():
        raise BadValue(
            f"--letta-source {text!r} is not a directory; give the root of a Letta checkout"
        )
    return path


def find_ca(text: str, environment: Mapping[str, str]) -> Path | None:
    """Return the CA file that build steps get, None if there is none."""
    given = {"--ca": text} | {name: environment.get(name, "") for name in CA_VARIABLES}
    for name, value in given.items():
        if value:
            path = Path(value).resolve()
            if not path.is_file():
                raise BadValue(
                    f"{name} names {value!r}, which is not a file; give a PEM file, or unset it"
                )
            return path
    return None
