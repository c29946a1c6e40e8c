"""Which tags a push writes and moves, and what it refuses to publish."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import (
    LettaStackError,
    OlderThanLatest,
    PlatformMissing,
    TagTaken,
)
from letta_stack.registry import reference
from letta_stack.registry.layout import Layout
from letta_stack.registry.repository import Repository
from letta_stack.release.publisher import send
from letta_stack.release.tags import Channel
from tests.release import observe, support, tiny
from tests.release.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.release.plan import Wanted
    from tests.release.support import Builds

VERSION = "0.16.8"


def test_an_unchanged_push_moves_no_blob(registry: str, repository: str, builds: Builds) -> None:
    with FaultProxy(registry) as proxy:
        first = support.push(proxy.host, repository, VERSION, builds.path(VERSION))
        moved = proxy.uploaded_bytes
        proxy.reset()

        second = support.push(proxy.host, repository, VERSION, builds.path(VERSION))

        assert first == second
        assert moved > 0
        assert proxy.uploaded_bytes == 0
        assert {request.method for request in proxy.seen} == {"GET", "HEAD", "POST", "DELETE"}


def test_an_immutable_tag_is_never_overwritten(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = support.push(registry, repository, VERSION, builds.path(VERSION))

    with pytest.raises(TagTaken, match="--revision"):
        support.push(registry, repository, VERSION, builds.path(VERSION, b"two\n"))

    assert observe.tags_of(registry, repository) == dict.fromkeys(
        (VERSION, "0.16", "latest"), digest
    )


def test_a_rebuilt_image_is_a_revision_and_moves_the_floating_tags(
    registry: str, repository: str, builds: Builds
) -> None:
    first = support.push(registry, repository, VERSION, builds.path(VERSION))

    second = support.push(registry, repository, f"{VERSION}-r2", builds.path(f"{VERSION}-r2"))

    expected = {VERSION: first, f"{VERSION}-r2": second, "0.16": second, "latest": second}
    assert observe.tags_of(registry, repository) == expected


def test_an_older_version_needs_permission_and_moves_only_its_series(
    registry: str, repository: str, builds: Builds
) -> None:
    new = support.push(registry, repository, VERSION, builds.path(VERSION))

    with pytest.raises(OlderThanLatest, match="--allow-older"):
        support.push(registry, repository, "0.15.1", builds.path("0.15.1"))
    wanted = support.wanted_of("0.15.1", allow_older=True)
    old = support.push(registry, repository, "0.15.1", builds.path("0.15.1"), wanted=wanted)

    expected = {VERSION: new, "0.16": new, "latest": new, "0.15.1": old, "0.15": old}
    assert observe.tags_of(registry, repository) == expected


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (Channel.NIGHTLY, {"nightly-20261124", "nightly"}),
        (Channel.COMMIT, {f"sha-{tiny.COMMIT[:12]}"}),
    ],
)
def test_other_channels_touch_no_release_tag(
    channel: Channel, expected: set[str], registry: str, repository: str, builds: Builds
) -> None:
    wanted = support.wanted_of(VERSION, channel=channel)

    digest = support.push(registry, repository, VERSION, builds.path(VERSION), wanted=wanted)

    assert observe.tags_of(registry, repository) == dict.fromkeys(expected, digest)


def test_a_dry_run_writes_nothing_and_begins_no_upload(registry: str, repository: str) -> None:
    lines: list[str] = []
    with FaultProxy(registry) as proxy:
        support.publisher(proxy.host, repository, VERSION, say=lines.append).preview()

        assert {request.method for request in proxy.seen} == {"GET", "HEAD"}
    assert observe.tags_of(registry, repository) == {}
    assert [line.split()[0] for line in lines[1:]] == [VERSION, "0.16", "latest"]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (support.wanted_of(VERSION, platforms=("linux/amd64",)), PlatformMissing),
        (support.wanted_of(VERSION, platforms=(*tiny.PLATFORMS, "linux/s390x")), PlatformMissing),
        (support.wanted_of("0.16.9"), LettaStackError),
    ],
    ids=["a platform too many", "a platform too few", "labels of another version"],
)
def test_an_image_that_is_not_what_was_asked_for_is_not_pushed(
    wanted: Wanted, error: type[LettaStackError], registry: str, repository: str, builds: Builds
) -> None:
    with pytest.raises(error):
        support.push(registry, repository, VERSION, builds.path(VERSION), wanted=wanted)

    assert observe.tags_of(registry, repository) == {}


def test_platforms_that_were_built_apart_become_one_release(
    registry: str, repository: str, tmp_path: Path
) -> None:
    context = tiny.write_context(tmp_path / "context")
    digests: list[str] = []
    for platform in tiny.PLATFORMS:
        layout = tmp_path / f"{platform.replace('/', '-')}.tar"
        tiny.build(context, layout, version=VERSION, platforms=(platform,))
        one = support.publisher(
            registry, repository, VERSION, wanted=support.wanted_of(VERSION, platforms=(platform,))
        )
        digests.append(one.upload(functools.partial(support.copy, layout), needed_bytes=0))
    assert observe.tags_of(registry, repository) == {}

    (target,) = reference.parse_targets([registry], [repository])
    with Repository(target) as source:
        digest = support.publisher(registry, repository, VERSION).promote(source, digests)

    assert observe.tags_of(registry, repository) == dict.fromkeys(
        (VERSION, "0.16", "latest"), digest
    )
    assert not observe.defects(registry, repository)


def test_a_release_is_copied_to_another_repository_by_its_digest(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = support.push(registry, repository, VERSION, builds.path(VERSION))

    (target,) = reference.parse_targets([registry], [repository])
    with Repository(target) as source:
        copied = support.publisher(registry, f"{repository}-copy", VERSION).promote(
            source, [digest]
        )

    assert copied == digest
    assert not observe.defects(registry, f"{repository}-copy")
    assert observe.tags_of(registry, f"{repository}-copy")["latest"] == digest


def test_a_release_that_was_interrupted_before_its_floating_tags_is_completed_without_a_build(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = support.push(registry, repository, VERSION, builds.path(VERSION))
    (target,) = reference.parse_targets([registry], [f"{repository}-interrupted"])
    with Repository(target) as interrupted, Layout(builds.path(VERSION)) as layout:
        send(interrupted, layout.image)
        interrupted.put_manifest(VERSION, layout.image.root)
        with pytest.raises(TagTaken, match=f"inv promote {digest}"):
            support.push(registry, target.repository, VERSION, builds.path(VERSION, b"later\n"))

        support.publisher(registry, target.repository, VERSION).promote(interrupted, [digest])

    expected = dict.fromkeys((VERSION, "0.16", "latest"), digest)
    assert observe.tags_of(registry, target.repository) == expected
