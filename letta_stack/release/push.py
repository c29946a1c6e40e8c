"""From the flags of `inv build --push` to a release: which version, from which commit, built how, to where."""

from __future__ import annotations

import datetime as dt
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from letta_stack.base import git, process
from letta_stack.base.flags import choice, count
from letta_stack.base.paths import ROOT
from letta_stack.engine import disk, inspect
from letta_stack.errors import BadReference, BuilderUnfit, ContentBroken
from letta_stack.image import server, third_party
from letta_stack.image import version as letta_version
from letta_stack.image.sources import PLATFORMS
from letta_stack.pins.file import Pins
from letta_stack.registry import reference
from letta_stack.registry.oci import DIGEST, Layout
from letta_stack.registry.repository import Registry
from letta_stack.release import reproducible, tags, trial_start
from letta_stack.release.publisher import Publisher, Wanted, describe, plan
from letta_stack.release.tags import Channel
from letta_stack.topology.catalogue import HEALTH_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from letta_stack.base.git import Checkout
    from letta_stack.image.server import Request
    from letta_stack.image.sources import Sources
    from letta_stack.registry.oci import Image
    from letta_stack.registry.reference import Target
from letta_stack.release.tags import Release

CREATED_LABEL = "org.opencontainers.image.created"
# The compressed image of one platform has about half of this.
BYTES_PER_PLATFORM = 1_000_000_000
METADATA = re.compile(
    r"(?:\./)?opt/letta/venv/lib/python[\d.]+/site-packages/letta-[^/]+\.dist-info/METADATA"
)


@dataclass(frozen=True)
class Flags:
    """What the user typed, unchecked."""

    registries: Sequence[str]
    repositories: Sequence[str]
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
        return reference.parse_targets(self.registries, self.repositories)

    def wanted(self, request: Request, found: Checkout, today: dt.date) -> Wanted:
        """Return what is to be released."""
        channel = Channel(choice("--channel", self.channel, [one.value for one in Channel]))
        # A development version is a release under a name of its own; the others are named after the commit.
        allow_dirty = self.allow_dirty and channel is Channel.RELEASE
        git.check_clean(found, allow_dirty=allow_dirty)
        wish = self.release(request.letta_source, found)
        created = dt.datetime.fromtimestamp(found.epoch, tz=dt.UTC)
        return Wanted(
            channel=channel,
            release=wish,
            commit=found.commit,
            day=today,
            platforms=request.platforms,
            labels={
                server.VERSION_LABEL: wish.tag,
                server.REVISION_LABEL: found.commit,
                CREATED_LABEL: f"{created:%Y-%m-%dT%H:%M:%SZ}",
            },
            allow_older=self.allow_older,
        )

    def release(self, source: Path | None, found: Checkout) -> Release:
        """Return the version to be released, which must be that of the source."""
        revision = count("--revision", self.revision)
        pin = Pins.load()["LETTA_VERSION"]
        detected = letta_version.detect(pin=pin, source=source).version
        wish = tags.parse_release(self.version or str(detected), revision=revision)
        letta_version.check_supported(wish.version, allow_letta_code=self.allow_letta_code)
        letta_version.agree(wish.version, {"the source": str(detected)})
        if found.dirty:
            joint = "." if wish.version.local else "+"
            wish = tags.Release(Version(f"{wish.version}{joint}{found.local_part}"), wish.revision)
            reference.check_tag(wish.tag)
        return wish


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


def push(
    flags: Flags,
    request: Request,
    *,
    say: Callable[[str], None],
    dry_run: bool = False,
    untagged: bool = False,
) -> str:
    """Do what `inv build --push` promises; return the digest, "" after a dry run. ``untagged`` publishes only content."""
    found = git.read(ROOT)
    wanted = flags.wanted(request, found, dt.datetime.now(tz=dt.UTC).date())
    publisher = publisher_of(flags, request, wanted, say)
    if dry_run:
        publisher.preview()
        server.run(request, output_options("image.tar", found), wanted.labels, dry_run=True)
        return ""
    check_machine(request)

    def build_and_start(path: Path) -> None:
        server.run(request, output_options(str(path), found), wanted.labels)
        check_answer(path, wanted.release, say)

    act = publisher.upload if untagged else publisher.push
    return act(
        build_and_start,
        needed_bytes=BYTES_PER_PLATFORM * len(request.platforms),
    )


def promote(
    flags: Flags,
    request: Request,
    digests: Sequence[str],
    *,
    say: Callable[[str], None],
    dry_run: bool = False,
) -> str:
    """Join and tag what is in the first registry already, without a build; return the digest, "" after a dry run."""
    if not digests:
        raise BadReference(
            "no digest given; give what `inv build --push --untagged` printed, sha256:..."
        )
    checked = [check_digest(text) for text in digests]
    targets = flags.targets()
    wanted = flags.wanted(request, git.read(ROOT), dt.datetime.now(tz=dt.UTC).date())
    publisher = publisher_of(flags, request, wanted, say)
    if dry_run:
        publisher.preview()
        return ""
    with Registry(targets[0], ca=request.ca, say=say) as source:
        return publisher.promote(source, checked)


def publisher_of(
    flags: Flags, request: Request, wanted: Wanted, say: Callable[[str], None]
) -> Publisher:
    """Return what writes ``wanted`` to the registries of the flags."""
    return Publisher(
        wanted,
        flags.targets(),
        say,
        ca=request.ca,
        inspect=lambda image: check_metadata(image, wanted.release),
    )


def check_reproducible(
    flags: Flags, request: Request, *, say: Callable[[str], None], dry_run: bool = False
) -> None:
    """Build twice without cache, as a push builds, and compare."""
    found = git.read(ROOT)
    git.check_clean(found, allow_dirty=flags.allow_dirty)
    labels = {server.REVISION_LABEL: found.commit}
    if dry_run:
        say("would build twice without cache and compare:")
        server.run(request, output_options("image.tar", found), labels, dry_run=True)
        return
    check_machine(request)
    reproducible.check(
        lambda path: server.run(request, output_options(str(path), found), labels),
        needed_bytes=BYTES_PER_PLATFORM * len(request.platforms),
        say=say,
    )


def output_options(path: str, found: Checkout) -> list[str]:
    """Return the options of buildx that give a file whose digest depends on the inputs alone.

    A file, because the engine's own builder cannot push by digest. ``SOURCE_DATE_EPOCH`` is for the configuration; the
    Dockerfile sees to the layers (images/clamp-times), where the commit's time would make every layer new. Compression
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
    plan = third_party.choose(server.BASES, source=request.images, platforms=request.platforms)
    if plan.rebuilt:
        message = (
            f"the chosen builder ({driver[1]}) does not see the images on the engine, which stand for "
            f"{', '.join(plan.rebuilt)}; use the engine's own with BUILDX_BUILDER=default, or --images hub"
        )
        raise BuilderUnfit(message)


def check_digest(text: str) -> str:
    """Return a well-formed digest."""
    if DIGEST.fullmatch(text) is None:
        message = f"{text!r} is no digest; give sha256: and 64 hexadecimal digits"
        raise BadReference(message)
    return text


def check_metadata(image: Image, wanted: Release) -> None:
    """Check that the Letta inside each platform's image is the one that its tag will name."""
    found = {f"{name}: image metadata": installed_version(image, name) for name in image.platforms}
    letta_version.agree(wanted.version, found)


def check_answer(path: Path, wanted: Release, say: Callable[[str], None]) -> None:
    """Start what was built and check that the server says the version that its tag will name."""
    with Layout(path) as layout:
        answer = trial_start.health_version(layout, say)
    if answer:
        letta_version.agree(wanted.version, {HEALTH_PATH: answer})
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


def show_tags(flags: Flags, *, ca: Path | None, say: Callable[[str], None]) -> None:
    """Print the tags of a version, and why. Without a repository nothing is known to be published."""
    channel = Channel(choice("--channel", flags.channel, [one.value for one in Channel]))
    wish = tags.parse_release(flags.version, revision=count("--revision", flags.revision))
    letta_version.check_supported(wish.version, allow_letta_code=flags.allow_letta_code)
    commit = git.read(ROOT).commit if channel is Channel.COMMIT else ""
    wanted = Wanted(
        channel=channel,
        release=wish,
        commit=commit,
        day=dt.datetime.now(tz=dt.UTC).date(),
        platforms=(),
        labels={},
        allow_older=flags.allow_older,
    )
    if flags.repositories:
        Publisher(wanted, flags.targets(), say, ca=ca).preview()
        return
    say("no --repository given: as if nothing were published")
    for line in describe("tags", plan(wanted.decide([]), {})):
        say(line)
