"""The same push again: what is published already is found before a build, and a second nightly gets a name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import TagTaken
from letta_stack.registry.layout import Layout
from letta_stack.release.tags import Channel
from tests.release import observe, support, tiny

if TYPE_CHECKING:
    from pathlib import Path

    from tests.release.support import Builds

VERSION = "0.16.8"
NIGHT = "nightly-20261124"


def no_build(_: Path) -> None:
    pytest.fail("built what is published already")


def test_what_is_published_with_the_same_labels_is_not_built_again(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = support.push(registry, repository, VERSION, builds.path(VERSION))
    lines: list[str] = []

    again = support.publisher(registry, repository, VERSION, say=lines.append).push(
        no_build, needed_bytes=0, reuse=True
    )

    assert again == digest
    assert [line for line in lines if line.startswith("not built: ")]
    assert observe.tags_of(registry, repository) == dict.fromkeys(
        (VERSION, "0.16", "latest"), digest
    )


def test_a_second_registry_gets_a_copy_of_what_the_first_has(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = support.push(registry, repository, VERSION, builds.path(VERSION))
    both = support.publisher(registry, repository, VERSION)
    both = replace(
        both, targets=[replace(both.targets[0], repository=f"{repository}-copy"), *both.targets]
    )

    both.push(no_build, needed_bytes=0, reuse=True)

    copied = observe.tags_of(registry, f"{repository}-copy")
    assert copied == dict.fromkeys((VERSION, "0.16", "latest"), digest)
    assert not observe.defects(registry, f"{repository}-copy")


@pytest.mark.parametrize(
    ("change", "reuse"),
    [
        ({"labels": {**tiny.labels(VERSION), "letta-stack.inputs": "others"}}, True),
        ({"labels": {**tiny.labels(VERSION), "org.opencontainers.image.revision": "x"}}, True),
        ({"platforms": ("linux/amd64",)}, True),
        ({}, False),
    ],
    ids=["other inputs", "another commit", "other platforms", "--no-cache"],
)
def test_everything_else_is_built(
    change: dict[str, object], reuse: bool, registry: str, repository: str, builds: Builds
) -> None:
    support.push(registry, repository, VERSION, builds.path(VERSION))
    wanted = replace(support.wanted_of(VERSION), **change)  # type: ignore[arg-type]
    built: list[Path] = []

    def build(path: Path) -> None:
        built.append(path)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        support.publisher(registry, repository, VERSION, wanted=wanted).push(
            build, needed_bytes=0, reuse=reuse
        )

    assert len(built) == 1


def test_a_release_that_lost_a_blob_is_built_again_and_complete(
    registry: str, repository: str, builds: Builds
) -> None:
    layout = builds.path(VERSION, b"a blob that nobody else has\n")
    support.push(registry, repository, VERSION, layout)
    with Layout(layout) as opened:
        lost = opened.image.blobs[-1].digest.removeprefix("sha256:")
    support.execute(
        registry,
        *("rm", "-r", f"/var/lib/registry/docker/registry/v2/blobs/sha256/{lost[:2]}/{lost}"),
        f"/var/lib/registry/docker/registry/v2/repositories/{repository}/_layers/sha256/{lost}",
    )
    assert observe.defects(registry, repository)

    support.publisher(registry, repository, VERSION).push(
        lambda path: support.copy(layout, path), needed_bytes=0, reuse=True
    )

    assert not observe.defects(registry, repository)


def nightly(registry: str, repository: str, layout: Path) -> str:
    wanted = support.wanted_of(VERSION, channel=Channel.NIGHTLY)
    return support.push(registry, repository, VERSION, layout, wanted=wanted)


def test_a_second_nightly_of_a_day_gets_the_next_number(
    registry: str, repository: str, builds: Builds
) -> None:
    layouts = [builds.path(VERSION, payload) for payload in (b"one\n", b"two\n", b"three\n")]
    first, second = (nightly(registry, repository, layout) for layout in layouts[:2])

    expected = {NIGHT: first, f"{NIGHT}-2": second, "nightly": second}
    assert observe.tags_of(registry, repository) == expected
    assert nightly(registry, repository, layouts[1]) == second
    assert observe.tags_of(registry, repository) == expected

    third = nightly(registry, repository, layouts[2])

    assert observe.tags_of(registry, repository) == {
        **expected,
        f"{NIGHT}-3": third,
        "nightly": third,
    }


def test_a_nightly_has_one_name_in_all_registries(
    registry: str, repository: str, builds: Builds
) -> None:
    first = nightly(registry, repository, builds.path(VERSION))
    wanted = support.wanted_of(VERSION, channel=Channel.NIGHTLY)
    one = support.publisher(registry, repository, VERSION, wanted=wanted)
    other = replace(one.targets[0], repository=f"{repository}-new")
    layout = builds.path(VERSION, b"two\n")

    second = replace(one, targets=[*one.targets, other]).push(
        lambda path: support.copy(layout, path), needed_bytes=0
    )

    assert observe.tags_of(registry, other.repository) == dict.fromkeys(
        (f"{NIGHT}-2", "nightly"), second
    )
    assert observe.tags_of(registry, repository)[NIGHT] == first


def test_a_commit_has_one_image(registry: str, repository: str, builds: Builds) -> None:
    wanted = support.wanted_of(VERSION, channel=Channel.COMMIT)
    support.push(registry, repository, VERSION, builds.path(VERSION), wanted=wanted)

    with pytest.raises(TagTaken):
        support.push(registry, repository, VERSION, builds.path(VERSION, b"two\n"), wanted=wanted)
