"""Which tags a version gets, and why. Pure: the caller reads the registry, and writes to it.

A push writes exactly one immutable tag. Floating tags follow the highest final version, so that a fix for an
old version never moves them back:

- release: ``0.16.8`` (a rebuilt image of the same version: ``0.16.8-r2``), then ``0.16`` and ``latest``
- nightly: ``nightly-20261124`` (a second one of the day: ``nightly-20261124-2``), then ``nightly``
- commit: ``sha-0123456789ab``
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from letta_stack.errors import BadReference, BadVersion, OlderThanLatest
from letta_stack.image import version as letta_version
from letta_stack.registry.reference import check_tag

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection

LATEST = "latest"
NIGHTLY = "nightly"
SHA_LENGTH = 12
# `-r2` must be read before packaging sees it: PEP 440 takes it for another spelling of `.post2`.
REVISED = re.compile(r"(?P<version>.+?)(?:-r(?P<revision>[1-9][0-9]{0,3}))?")


class Kind(enum.Enum):
    """What a tag promises. The value is what the user reads."""

    IMMUTABLE = "immutable"
    FLOATING = "floating"


class Channel(enum.StrEnum):
    """What is being pushed. The value is what the user types."""

    RELEASE = "release"
    NIGHTLY = "nightly"
    COMMIT = "commit"


@functools.total_ordering
@dataclass(frozen=True)
class ImageVersion:
    """A version of Letta, and which build of it by this project: the first has no suffix."""

    letta: Version
    revision: int = 1

    @property
    def tag(self) -> str:
        """The immutable tag; ``+`` is illegal in tags and becomes ``_``, as Helm does it."""
        suffix = f"-r{self.revision}" if self.revision > 1 else ""
        return str(self.letta).replace("+", "_") + suffix

    @property
    def series(self) -> str:
        """The floating tag of all patch versions: ``0.16``."""
        return f"{self.letta.major}.{self.letta.minor}"

    @property
    def final(self) -> bool:
        """Whether people who asked for no particular version may get this one."""
        version = self.letta
        return not (version.is_prerelease or version.is_postrelease or version.local)

    def __lt__(self, other: ImageVersion) -> bool:
        return (self.letta, self.revision) < (other.letta, other.revision)

    def __str__(self) -> str:
        return self.tag


@dataclass(frozen=True)
class Decision:
    """One tag: whether this push writes it, and the reason in words."""

    tag: str
    kind: Kind
    write: bool
    reason: str


def parse_version(text: str, *, revision: int = 0) -> ImageVersion:
    """Parse ``VERSION[-rN]``. ``revision`` overrides the suffix unless it is 0."""
    match = REVISED.fullmatch(text.strip().replace("_", "+", 1))
    if match is None:
        message = "the version is empty; give one such as 0.16.8 or 0.16.8-r2"
        raise BadVersion(message)
    if re.search(r"-r\d*$", match["version"]):
        message = f"{text!r} has no revision that can be counted; write -r2 for the second image of a version"
        raise BadVersion(message)
    written = int(match["revision"] or 0)
    if revision < 0 or (revision and written and revision != written):
        message = (
            f"{text} and --revision {revision} do not fit together; give one revision, 1 or higher"
        )
        raise BadVersion(message)
    version = ImageVersion(letta_version.parse(match["version"]), revision or written or 1)
    check_tag(version.tag)
    return version


def published(tags: Collection[str]) -> list[ImageVersion]:
    """Return the releases among a repository's tags, highest first.

    Only names that this project would have written count: ``v0.16.8`` or ``0.16.8-slim`` are somebody else's.
    """
    found: list[ImageVersion] = []
    for tag in tags:
        try:
            version = parse_version(tag)
        except (BadVersion, BadReference, InvalidVersion):
            continue
        if version.tag == tag:
            found.append(version)
    return sorted(found, reverse=True)


def decide(version: ImageVersion, present: Collection[ImageVersion]) -> list[Decision]:
    """Decide the tags of a release, given the ``present`` ones. In the order in which they are written."""
    decisions = [
        Decision(version.tag, Kind.IMMUTABLE, write=True, reason="names this image for good"),
    ]
    for tag, rivals, scope in (
        (
            version.series,
            [other for other in present if other.series == version.series],
            " of its series",
        ),
        (LATEST, list(present), ""),
    ):
        decisions.append(_decide_floating(version, tag, rivals, scope))
    return decisions


def _decide_floating(
    version: ImageVersion, tag: str, rivals: Collection[ImageVersion], scope: str
) -> Decision:
    if not version.final:
        reason = f"{version.letta} is {_why_not_final(version.letta)}"
        return Decision(tag, Kind.FLOATING, write=False, reason=reason)
    highest = max((other for other in rivals if other.final), default=None)
    if highest is not None and version < highest:
        return Decision(tag, Kind.FLOATING, write=False, reason=f"{highest} is higher")
    return Decision(
        tag, Kind.FLOATING, write=True, reason=f"{version} is the highest final version{scope}"
    )


def _why_not_final(version: Version) -> str:
    if version.local:
        return "a local version"
    if version.is_devrelease:
        return "a development version"
    return "a pre-release" if version.is_prerelease else "a post-release"


def decide_nightly(day: dt.date, number: int = 1) -> list[Decision]:
    """Decide the tags of a nightly build, the ``number``-th of its day."""
    tag, reason = f"{NIGHTLY}-{day:%Y%m%d}", "names this night"
    if number > 1:
        tag, reason = f"{tag}-{number}", f"names build {number} of this day"
    return [
        Decision(tag, Kind.IMMUTABLE, write=True, reason=reason),
        Decision(NIGHTLY, Kind.FLOATING, write=True, reason="follows the newest nightly build"),
    ]


def decide_commit(commit: str) -> list[Decision]:
    """Decide the tag of a build that is only named after its commit."""
    tag = f"sha-{commit[:SHA_LENGTH]}"
    return [Decision(tag, Kind.IMMUTABLE, write=True, reason="names this commit")]


def check_not_older(
    version: ImageVersion, latest: ImageVersion | None, *, allow_older: bool = False
) -> None:
    """Refuse a release that sorts below ``latest``, unless it is meant as a fix for an old version.

    Local versions name somebody's build and stand in no order with the published ones.
    """
    if latest is None or version.letta.local or allow_older or not version < latest:
        return
    message = (
        f"{version} sorts below {latest}, the highest release there; if it is a fix for users of an old "
        "version, say so with --allow-older: `latest` then stays where it is"
    )
    raise OlderThanLatest(message)
