from __future__ import annotations

import datetime as dt
import shutil
from typing import TYPE_CHECKING

import pytest

from letta_stack.engine import disk
from letta_stack.errors import (
    InterruptedByUser,
    LowDisk,
    OlderThanLatest,
    RegistryDenied,
    RegistryFull,
    ReleaseIncomplete,
    TagTaken,
)
from letta_stack.registry.reference import Target
from letta_stack.release import publisher, tags
from letta_stack.release.publisher import Progress, State, Wanted
from letta_stack.release.tags import Channel

if TYPE_CHECKING:
    from pathlib import Path

OURS, THEIRS = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HERE, THERE = Target("a.example", "letta/letta"), Target("b.example", "letta/letta")


def wanted(version: str = "0.16.8", channel: Channel = Channel.RELEASE) -> Wanted:
    return Wanted(
        channel=channel,
        release=tags.parse_release(version),
        commit="0123456789abcdef",
        day=dt.date(2026, 3, 1),
        platforms=("linux/amd64",),
        labels={},
    )


def states(now: dict[str, str], digest: str = "", present: tuple[str, ...] = ()) -> list[State]:
    decisions = wanted().decide(tags.published(present))
    return [step.state for step in publisher.plan(decisions, now, digest)]


@pytest.mark.parametrize(
    ("now", "digest", "expected"),
    [
        ({}, "", [State.NEW, State.NEW, State.NEW]),
        ({}, OURS, [State.NEW, State.NEW, State.NEW]),
        ({"0.16": THEIRS, "latest": THEIRS}, OURS, [State.NEW, State.MOVE, State.MOVE]),
        # interrupted between the immutable tag and the floating ones
        ({"0.16.8": OURS, "latest": THEIRS}, OURS, [State.UNCHANGED, State.NEW, State.MOVE]),
        ({"0.16.8": OURS, "0.16": OURS, "latest": OURS}, OURS, [State.UNCHANGED] * 3),
        ({"0.16.8": OURS}, "", [State.COMPARE, State.NEW, State.NEW]),
        ({"0.16.8": THEIRS}, OURS, [State.TAKEN, State.NEW, State.NEW]),
    ],
)
def test_plan(now: dict[str, str], digest: str, expected: list[State]) -> None:
    assert states(now, digest) == expected


def test_a_floating_tag_that_a_higher_version_holds_is_left_alone() -> None:
    wish = wanted("0.16.8-r2")

    steps = publisher.plan(
        wish.decide(tags.published(["0.16.8-r2", "0.16.9"])), {"latest": THEIRS}, OURS
    )

    assert [step.state for step in steps] == [State.NEW, State.KEPT, State.KEPT]
    assert not any(step.acts for step in steps[1:])


def test_an_older_version_is_refused_unless_it_is_there_already() -> None:
    with pytest.raises(OlderThanLatest):
        wanted("0.16.7").decide(tags.published(["0.16.8"]))

    assert wanted("0.16.7").decide(tags.published(["0.16.8", "0.16.7"]))


@pytest.mark.parametrize("channel", [Channel.NIGHTLY, Channel.COMMIT])
def test_other_channels_are_in_no_order_with_releases(channel: Channel) -> None:
    decisions = wanted("0.16.7", channel).decide(tags.published(["0.16.8"]))

    assert not {"0.16.7", "0.16", "latest"} & {one.tag for one in decisions}


def test_a_taken_tag_names_both_digests_and_both_ways_on() -> None:
    steps = publisher.plan(wanted().decide([]), {"0.16.8": THEIRS}, OURS)

    with pytest.raises(TagTaken) as caught:
        publisher.check_free(HERE, steps, OURS)

    for text in (THEIRS, OURS, "--revision", "--digest", "a.example/letta/letta:0.16.8"):
        assert text in str(caught.value)


def test_the_plan_is_printed_with_a_reason_per_tag() -> None:
    steps = publisher.plan(wanted().decide([]), {"latest": THEIRS})

    lines = publisher.describe(str(HERE), steps)

    assert lines[0] == "a.example/letta/letta"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["0.16.8", "immutable"],
        ["0.16", "floating"],
        ["latest", "floating"],
    ]
    assert "moves (now sha256:bbbbbbbbbbbb)" in lines[3]


def test_too_little_room_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_500_000_000))

    disk.check_room(tmp_path, 1_500_000_000)
    with pytest.raises(LowDisk, match=r"1\.5 GB left .* need 2\.0 GB"):
        disk.check_room(tmp_path, 2_000_000_000)


def test_one_registry_fails_with_its_own_error() -> None:
    progress = Progress([HERE], [], {})
    progress.fail(HERE, RegistryFull("no room"))

    with pytest.raises(RegistryFull):
        progress.raise_for_failures()


def test_several_registries_are_each_done_or_named() -> None:
    progress = Progress([HERE, THERE], [], {})
    progress.finish(HERE)
    progress.raise_for_failures()
    progress.fail(THERE, RegistryDenied("no login"))

    with pytest.raises(ReleaseIncomplete) as caught:
        progress.raise_for_failures()

    assert f"released in: {HERE}; NOT in {THERE}: no login" in str(caught.value)


def test_an_interruption_says_what_is_complete() -> None:
    progress = Progress([HERE, THERE], [], {})
    progress.finish(HERE)

    error = progress.interrupted()

    assert isinstance(error, InterruptedByUser)
    assert f"complete: {HERE}; not complete: {THERE}." in str(error)
