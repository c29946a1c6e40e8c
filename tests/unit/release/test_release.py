from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
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
from letta_stack.release import plan, tags
from letta_stack.release.outcome import Outcome
from letta_stack.release.plan import Step, TagState, Wanted
from letta_stack.release.tags import Channel

if TYPE_CHECKING:
    from pathlib import Path

OURS, THEIRS = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HERE, THERE = Target("a.example", "letta/letta"), Target("b.example", "letta/letta")


def wanted_of(version: str = "0.16.8", channel: Channel = Channel.RELEASE) -> Wanted:
    return Wanted(
        channel=channel,
        version=tags.parse_version(version),
        commit="0123456789abcdef",
        day=dt.date(2026, 3, 1),
        platforms=("linux/amd64",),
        labels={},
    )


def states(now: dict[str, str], digest: str = "", present: tuple[str, ...] = ()) -> list[TagState]:
    decisions = wanted_of().decide(tags.published(present))
    return [step.state for step in plan.compare(decisions, now, digest)]


@pytest.mark.parametrize(
    ("now", "digest", "expected"),
    [
        ({}, "", [TagState.NEW, TagState.NEW, TagState.NEW]),
        ({}, OURS, [TagState.NEW, TagState.NEW, TagState.NEW]),
        ({"0.16": THEIRS, "latest": THEIRS}, OURS, [TagState.NEW, TagState.MOVE, TagState.MOVE]),
        # interrupted between the immutable tag and the floating ones
        (
            {"0.16.8": OURS, "latest": THEIRS},
            OURS,
            [TagState.UNCHANGED, TagState.NEW, TagState.MOVE],
        ),
        ({"0.16.8": OURS, "0.16": OURS, "latest": OURS}, OURS, [TagState.UNCHANGED] * 3),
        ({"0.16.8": OURS}, "", [TagState.COMPARE, TagState.NEW, TagState.NEW]),
        ({"0.16.8": THEIRS}, OURS, [TagState.TAKEN, TagState.NEW, TagState.NEW]),
    ],
)
def test_plan(now: dict[str, str], digest: str, expected: list[TagState]) -> None:
    assert states(now, digest) == expected


def test_a_floating_tag_that_a_higher_version_holds_is_left_alone() -> None:
    wanted = wanted_of("0.16.8-r2")

    steps = plan.compare(
        wanted.decide(tags.published(["0.16.8-r2", "0.16.9"])), {"latest": THEIRS}, OURS
    )

    assert [step.state for step in steps] == [TagState.NEW, TagState.KEPT, TagState.KEPT]
    assert not any(step.acts for step in steps[1:])


def test_an_older_version_is_refused_unless_it_is_there_already() -> None:
    with pytest.raises(OlderThanLatest):
        wanted_of("0.16.7").decide(tags.published(["0.16.8"]))

    assert wanted_of("0.16.7").decide(tags.published(["0.16.8", "0.16.7"]))
    allowed = replace(wanted_of("0.16.7"), allow_older=True)
    assert allowed.decide(tags.published(["0.16.8"]))
    # What is not final is not what others are older than.
    assert wanted_of("0.16.7").decide(tags.published(["0.16.8rc1", "0.16.6"]))


@pytest.mark.parametrize(
    ("channel", "tag"),
    [
        (Channel.RELEASE, "0.16.7"),
        (Channel.NIGHTLY, "nightly-20260301"),
        (Channel.COMMIT, "sha-0123456789ab"),
    ],
)
def test_the_tag_that_stays(channel: Channel, tag: str) -> None:
    assert wanted_of("0.16.7", channel).immutable_tag == tag


def test_the_second_nightly_of_a_day_is_counted() -> None:
    wanted = replace(wanted_of(channel=Channel.NIGHTLY), night=2)

    assert wanted.immutable_tag == "nightly-20260301-2"


def test_only_what_is_new_or_moves_is_written() -> None:
    (decision, *_) = wanted_of().decide([])

    acting = {state for state in TagState if Step(decision, "", state).acts}

    assert acting == {TagState.NEW, TagState.MOVE}


@pytest.mark.parametrize("channel", [Channel.NIGHTLY, Channel.COMMIT])
def test_other_channels_are_in_no_order_with_releases(channel: Channel) -> None:
    decisions = wanted_of("0.16.7", channel).decide(tags.published(["0.16.8"]))

    assert not {"0.16.7", "0.16", "latest"} & {one.tag for one in decisions}


def test_a_taken_tag_names_both_digests_and_both_ways_on() -> None:
    steps = plan.compare(wanted_of().decide([]), {"0.16.8": THEIRS}, OURS)

    with pytest.raises(TagTaken) as caught:
        plan.check_free(HERE, steps, OURS)

    for text in (
        THEIRS,
        OURS,
        "--revision",
        f"inv promote {THEIRS}",
        "a.example/letta/letta:0.16.8",
    ):
        assert text in str(caught.value)


def test_the_plan_is_printed_with_a_reason_per_tag() -> None:
    steps = plan.compare(wanted_of().decide([]), {"latest": THEIRS})

    lines = plan.describe(str(HERE), steps)

    assert lines[0] == "a.example/letta/letta"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["0.16.8", "immutable"],
        ["0.16", "floating"],
        ["latest", "floating"],
    ]
    assert "moves (now sha256:bbbbbbbbbbbb)" in lines[3]


def test_a_tag_that_stays_as_it_is_is_printed_without_its_digest() -> None:
    (step, *_) = plan.compare(wanted_of().decide([]), {"0.16.8": OURS}, OURS)

    assert plan.describe("x", [step]) == [
        "x",
        "  0.16.8  immutable  unchanged: names this image for good",
    ]


def test_too_little_room_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_500_000_000))

    disk.check_room(tmp_path, 1_500_000_000)
    with pytest.raises(LowDisk, match=r"1\.5 GB left .* need 2\.0 GB"):
        disk.check_room(tmp_path, 2_000_000_000)


def test_one_registry_fails_with_its_own_error() -> None:
    outcome = Outcome([HERE])
    outcome.fail(HERE, RegistryFull("no room"))

    with pytest.raises(RegistryFull):
        outcome.raise_for_failures()


def test_several_registries_are_each_done_or_named() -> None:
    outcome = Outcome([HERE, THERE])
    outcome.finish(HERE)
    outcome.raise_for_failures()
    outcome.fail(THERE, RegistryDenied("no login"))

    with pytest.raises(ReleaseIncomplete) as caught:
        outcome.raise_for_failures()

    assert f"released in: {HERE}; NOT in {THERE}: no login" in str(caught.value)


def test_where_nothing_is_complete_every_failure_is_listed() -> None:
    outcome = Outcome([HERE, THERE])
    outcome.fail(HERE, RegistryFull("no room"))
    outcome.fail(THERE, RegistryDenied("no login"))

    with pytest.raises(ReleaseIncomplete) as caught:
        outcome.raise_for_failures()

    assert str(caught.value).startswith(
        f"released in: none; NOT in {HERE}: no room; NOT in {THERE}: no login -- run "
    )


def test_an_interruption_counts_what_failed_and_what_is_to_come() -> None:
    outcome = Outcome([HERE, THERE])
    outcome.fail(THERE, RegistryDenied("no login"))
    assert f"complete: none; not complete: {HERE}, {THERE}. " in str(outcome.interrupted())

    done = Outcome([HERE])
    done.finish(HERE)
    assert f"complete: {HERE}; not complete: none. " in str(done.interrupted())


def test_an_interruption_says_what_is_complete() -> None:
    outcome = Outcome([HERE, THERE])
    outcome.finish(HERE)

    error = outcome.interrupted()

    assert isinstance(error, InterruptedByUser)
    assert f"complete: {HERE}; not complete: {THERE}." in str(error)
