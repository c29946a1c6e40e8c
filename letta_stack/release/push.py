"""Do what `inv build --push` promises, or show it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

from letta_stack.base import git
from letta_stack.base.flags import choice, count
from letta_stack.base.paths import ROOT
from letta_stack.image import server
from letta_stack.image import version as letta_version
from letta_stack.release import build, plan, sign, tags, version_check
from letta_stack.release.plan import Wanted
from letta_stack.release.publisher import Publisher
from letta_stack.release.tags import Channel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from letta_stack.image.server import Request
    from letta_stack.release.options import Options
    from letta_stack.release.sign import Signer


def push(
    options: Options,
    request: Request,
    *,
    say: Callable[[str], None],
    dry_run: bool = False,
    untagged: bool = False,
) -> str:
    """Do what `inv build --push` promises; return the digest, "" after a dry run. ``untagged`` publishes only content."""
    found = git.read(ROOT)
    wanted = options.wanted(request, found, dt.datetime.now(tz=dt.UTC).date())
    labels = {**wanted.labels, server.INPUTS_LABEL: build.inputs(request)}
    wanted = replace(wanted, labels=labels)
    # Before the build: a key that does not open should not cost one.
    signer = None if dry_run or untagged else sign.signer_of(request)
    publisher = publisher_of(options, request, wanted, say, signer)
    if dry_run:
        publisher.preview()
        server.run(request, build.output_options("image.tar", found), wanted.labels, dry_run=True)
        return ""
    build.check_machine(request)

    def build_and_start(path: Path) -> None:
        server.run(request, build.output_options(str(path), found), wanted.labels)
        version_check.check_answer(path, wanted.version, say)

    needed_bytes = build.BYTES_PER_PLATFORM * len(request.platforms)
    if untagged:
        return publisher.upload(build_and_start, needed_bytes=needed_bytes)
    return publisher.push(build_and_start, needed_bytes=needed_bytes, reuse=not request.no_cache)


def publisher_of(
    options: Options,
    request: Request,
    wanted: Wanted,
    say: Callable[[str], None],
    signer: Signer | None,
) -> Publisher:
    """Return what writes ``wanted`` to the registries of the options, and signs it if there is a ``signer``."""
    return Publisher(
        wanted,
        options.targets(),
        say,
        ca=request.ca,
        plain_http=options.plain_http,
        inspect=lambda image: version_check.check_metadata(image, wanted.version),
        signer=signer,
    )


def show_tags(options: Options, *, ca: Path | None, say: Callable[[str], None]) -> None:
    """Print the tags of a version, and why. Without a repository nothing is known to be published."""
    channel = Channel(choice("--channel", options.channel, [one.value for one in Channel]))
    version = tags.parse_version(options.version, revision=count("--revision", options.revision))
    letta_version.check_supported(version.letta, allow_letta_code=options.allow_letta_code)
    commit = git.read(ROOT).commit if channel is Channel.COMMIT else ""
    wanted = Wanted(
        channel=channel,
        version=version,
        commit=commit,
        day=dt.datetime.now(tz=dt.UTC).date(),
        platforms=(),
        labels={},
        allow_older=options.allow_older,
    )
    if options.repositories:
        Publisher(wanted, options.targets(), say, ca=ca, plain_http=options.plain_http).preview()
        return
    say("no --repository given: as if nothing were published")
    for line in plan.describe("tags", plan.compare(wanted.decide([]), {})):
        say(line)
