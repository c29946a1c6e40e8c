"""What the user typed about a release, and what it means: where to, which version, from which commit."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from letta_stack.base import git
from letta_stack.base.flags import choice, count
from letta_stack.errors import BadReference
from letta_stack.image import server
from letta_stack.image import version as letta_version
from letta_stack.pins.file import Pins
from letta_stack.registry import reference
from letta_stack.release import tags
from letta_stack.release.plan import Wanted
from letta_stack.release.tags import Channel, ImageVersion

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from letta_stack.base.git import Checkout
    from letta_stack.image.server import Request
    from letta_stack.registry.reference import Target

CREATED_LABEL = "org.opencontainers.image.created"


@dataclass(frozen=True)
class Options:
    """What the user typed, unchecked."""

    registries: Sequence[str]
    repositories: Sequence[str]
    plain_http: Sequence[str] = ()
    version: str = ""
    revision: str = "0"
    channel: str = "release"
    allow_dirty: bool = False
    allow_older: bool = False
    allow_letta_code: bool = False

    def targets(self) -> list[Target]:
        """Return where to push."""
        if not self.repositories:
            message = (
                "nowhere to push to; name the image with --repository, such as ghcr.io/me/letta"
            )
            raise BadReference(message)
        for host in self.plain_http:
            reference.check_host(host)
        return reference.parse_targets(self.registries, self.repositories)

    def wanted(self, request: Request, found: Checkout, today: dt.date) -> Wanted:
        """Return what is to be released."""
        channel = Channel(choice("--channel", self.channel, [one.value for one in Channel]))
        # A development version is a release under a name of its own; the others are named after the commit.
        allow_dirty = self.allow_dirty and channel is Channel.RELEASE
        git.check_clean(found, allow_dirty=allow_dirty)
        version = self.image_version(request.letta_source, found)
        created = dt.datetime.fromtimestamp(found.epoch, tz=dt.UTC)
        return Wanted(
            channel=channel,
            version=version,
            commit=found.commit,
            day=today,
            platforms=request.platforms,
            labels={
                server.VERSION_LABEL: version.tag,
                server.REVISION_LABEL: found.commit,
                CREATED_LABEL: f"{created:%Y-%m-%dT%H:%M:%SZ}",
            },
            allow_older=self.allow_older,
        )

    def image_version(self, source: Path | None, found: Checkout) -> ImageVersion:
        """Return the version to be released, which must be that of the source."""
        revision = count("--revision", self.revision)
        pin = Pins.load()["LETTA_VERSION"]
        detected = letta_version.detect(pin=pin, source=source).version
        version = tags.parse_version(self.version or str(detected), revision=revision)
        letta_version.check_supported(version.letta, allow_letta_code=self.allow_letta_code)
        letta_version.agree(version.letta, {"the source": str(detected)})
        if found.dirty:
            joint = "." if version.letta.local else "+"
            version = ImageVersion(
                Version(f"{version.letta}{joint}{found.local_part}"), version.revision
            )
            reference.check_tag(version.tag)
        return version
