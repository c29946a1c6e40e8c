from __future__ import annotations

import datetime as dt

import pytest

from letta_stack.errors import BadReference, BadVersion, OlderThanLatest
from letta_stack.release import tags
from letta_stack.release.tags import Channel, Kind


def written(version: str, present: list[str]) -> list[str]:
    release = tags.parse_version(version)
    return [one.tag for one in tags.decide(release, tags.published(present)) if one.write]


@pytest.mark.parametrize(
    ("version", "present", "expected"),
    [
        ("0.16.8", [], ["0.16.8", "0.16", "latest"]),
        ("0.16.8", ["0.16.7", "0.16", "latest"], ["0.16.8", "0.16", "latest"]),
        ("0.16.8", ["0.16.8"], ["0.16.8", "0.16", "latest"]),
        ("0.16.10", ["0.16.9"], ["0.16.10", "0.16", "latest"]),
        # a fix for an old version moves nothing back
        ("0.16.7", ["0.16.8"], ["0.16.7"]),
        ("0.15.9", ["0.16.8", "0.15.8"], ["0.15.9", "0.15"]),
        ("0.15.7", ["0.16.8", "0.15.8"], ["0.15.7"]),
        # a rebuilt image
        ("0.16.8-r2", ["0.16.8"], ["0.16.8-r2", "0.16", "latest"]),
        ("0.16.8-r10", ["0.16.8-r9"], ["0.16.8-r10", "0.16", "latest"]),
        ("0.16.8", ["0.16.8-r2"], ["0.16.8"]),
        ("0.16.7-r2", ["0.16.8"], ["0.16.7-r2"]),
        # what is not final floats nowhere, and does not hold back what is
        ("0.16.9rc1", ["0.16.8"], ["0.16.9rc1"]),
        ("0.16.9a1", [], ["0.16.9a1"]),
        ("0.16.8.dev20250115", [], ["0.16.8.dev20250115"]),
        ("0.16.8.post1", ["0.16.8"], ["0.16.8.post1"]),
        ("0.16.8+local.1", ["0.16.7"], ["0.16.8_local.1"]),
        ("0.16.8", ["0.16.9rc1", "0.16.8.post1", "0.17.0.dev1"], ["0.16.8", "0.16", "latest"]),
        # somebody else's tags are not versions of ours
        ("0.16.8", ["v0.16.9", "0.16.9-slim", "0.16.9-1", "edge", "0.16.9-r1"], ["0.16.8", "0.16", "latest"]),
    ],
)  # fmt: skip
def test_what_a_release_writes(version: str, present: list[str], expected: list[str]) -> None:
    assert expected == written(version, present)


def test_the_immutable_tag_comes_first_and_floating_ones_say_why_they_stay() -> None:
    release = tags.parse_version("0.16.7")

    decisions = tags.decide(release, tags.published(["0.16.8-r2"]))

    assert [one.kind for one in decisions] == [Kind.IMMUTABLE, Kind.FLOATING, Kind.FLOATING]
    assert [one.reason for one in decisions[1:]] == ["0.16.8-r2 is higher"] * 2


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("0.16.9+mine", "0.16.9+mine is a local version"),
        ("0.16.9.dev1", "0.16.9.dev1 is a development version"),
        ("0.16.9rc1", "0.16.9rc1 is a pre-release"),
        ("0.16.9.post1", "0.16.9.post1 is a post-release"),
    ],
)
def test_what_is_not_final_floats_nowhere_and_says_why(version: str, why: str) -> None:
    decisions = tags.decide(tags.parse_version(version), [])

    assert [(one.kind, one.write) for one in decisions] == [
        (Kind.IMMUTABLE, True),
        (Kind.FLOATING, False),
        (Kind.FLOATING, False),
    ]
    assert [one.reason for one in decisions] == ["names this image for good", why, why]


def test_the_highest_version_is_said_to_be_it_where_it_is() -> None:
    release = tags.parse_version("0.15.9")

    decisions = tags.decide(release, tags.published(["0.16.8", "0.15.8"]))

    assert [(one.tag, one.reason) for one in decisions[1:]] == [
        ("0.15", "0.15.9 is the highest final version of its series"),
        ("latest", "0.16.8 is higher"),
    ]
    assert tags.decide(release, [])[2].reason == "0.15.9 is the highest final version"


def test_releases_come_highest_first() -> None:
    present = ["0.16.7", "0.16.10", "latest", "0.16.8-r2", "", "1!0.16.8", "0.16.8"]

    assert [str(one) for one in tags.published(present)] == [
        *("0.16.10", "0.16.8-r2", "0.16.8", "0.16.7")
    ]


def test_a_nightly_has_a_name_of_its_own_and_touches_no_release_tag() -> None:
    decisions = tags.decide_nightly(dt.date(2026, 3, 1))

    assert [(one.tag, one.kind, one.write) for one in decisions] == [
        ("nightly-20260301", Kind.IMMUTABLE, True),
        ("nightly", Kind.FLOATING, True),
    ]
    assert [one.reason for one in decisions] == [
        "names this night",
        "follows the newest nightly build",
    ]


@pytest.mark.parametrize(
    ("number", "tag"), [(2, "nightly-20260301-2"), (11, "nightly-20260301-11")]
)
def test_further_nightlies_of_a_day_are_counted(number: int, tag: str) -> None:
    first, second = tags.decide_nightly(dt.date(2026, 3, 1), number)

    assert (first.tag, second.tag) == (tag, "nightly")
    assert first.reason == f"names build {number} of this day"


def test_a_commit_is_named_by_twelve_digits() -> None:
    (one,) = tags.decide_commit("0123456789abcdef")

    assert (one.tag, one.kind, one.write) == ("sha-0123456789ab", Kind.IMMUTABLE, True)
    assert one.reason == "names this commit"


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("0.16.8", "0.16.8"),
        ("v0.16.8", "0.16.8"),
        (" 0.16.8-r9999\n", "0.16.8-r9999"),
        ("0.16.8-r1", "0.16.8"),
        ("0.16.8-r2", "0.16.8-r2"),
        ("0.16.8rc1-r3", "0.16.8rc1-r3"),
        ("0.16.8+a.b", "0.16.8_a.b"),
        ("0.16.8_a.b", "0.16.8_a.b"),
        ("0.16.8_a_b", "0.16.8_a.b"),
        ("0.16.8-post1", "0.16.8.post1"),
    ],
)
def test_a_version_becomes_a_tag_and_comes_back(text: str, tag: str) -> None:
    release = tags.parse_version(text)

    assert tag == release.tag
    assert release == tags.parse_version(tag)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the version is empty"),
        (" ", "the version is empty"),
        ("latest", "0.16.8"),
        ("0.16", "0.16.8"),
        ("0.16.8.1", "0.16.8"),
        ("1!0.16.8", "0.16.8"),
        ("0.16.x", "0.16.8"),
        ("0.16.8-r0", "no revision that can be counted"),
        ("0.16.8-r", "no revision that can be counted"),
        ("0.16.8-r12345", "no revision that can be counted"),
    ],
)
def test_what_is_no_version_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadVersion, match=words):
        tags.parse_version(text)


def test_a_revision_comes_from_the_flag_or_the_suffix_but_not_from_both() -> None:
    assert tags.parse_version("0.16.8", revision=3).tag == "0.16.8-r3"
    assert tags.parse_version("0.16.8-r3", revision=3).tag == "0.16.8-r3"
    with pytest.raises(BadVersion, match="do not fit together"):
        tags.parse_version("0.16.8-r2", revision=3)
    with pytest.raises(BadVersion, match="do not fit together"):
        tags.parse_version("0.16.8", revision=-1)


def test_a_version_that_is_too_long_for_a_tag_is_refused() -> None:
    with pytest.raises(BadReference):
        tags.parse_version("0.16.8+" + "x" * 128)


@pytest.mark.parametrize("version", ["0.16.7", "0.16.8rc1", "0.16.8", "0.15.9-r2"])
def test_a_version_below_the_highest_is_refused_unless_it_is_meant(version: str) -> None:
    release, highest = tags.parse_version(version), tags.parse_version("0.16.8-r2")

    with pytest.raises(OlderThanLatest, match="--allow-older"):
        tags.check_not_older(release, highest)
    tags.check_not_older(release, highest, allow_older=True)


@pytest.mark.parametrize("version", ["0.16.8-r2", "0.16.8-r3", "0.16.9rc1", "0.16.7+mine"])
def test_a_version_that_is_not_below_the_highest_passes(version: str) -> None:
    tags.check_not_older(tags.parse_version(version), tags.parse_version("0.16.8-r2"))
    tags.check_not_older(tags.parse_version(version), None)


def test_channels_are_typed_as_they_are_called() -> None:
    assert [one.value for one in Channel] == ["release", "nightly", "commit"]
    assert [one.value for one in Kind] == ["immutable", "floating"]


def test_a_first_build_sorts_below_a_second_and_equals_itself() -> None:
    first, second = tags.parse_version("0.16.8"), tags.parse_version("0.16.8-r2")

    assert first < second
    assert first == tags.parse_version("0.16.8", revision=1)
    assert tags.parse_version("0.16.8-r2").series == "0.16"
