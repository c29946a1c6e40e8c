from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.git import Checkout
from letta_stack.errors import (
    BadReference,
    BadValue,
    BuilderUnfit,
    ContentBroken,
    DirtyTree,
    LettaCode,
    VersionsDisagree,
)
from letta_stack.image import server, third_party
from letta_stack.image.server import Request
from letta_stack.image.sources import Sources
from letta_stack.pins.file import Pins
from letta_stack.registry.layout import Layout
from letta_stack.registry.reference import Target
from letta_stack.release import build, options, promote, version_check
from letta_stack.release.options import Options
from letta_stack.release.tags import ImageVersion, parse_version
from tests.support.layouts import layer, write_layout

if TYPE_CHECKING:
    from pathlib import Path

PINNED = Pins.load()["LETTA_VERSION"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLEAN = Checkout(COMMIT, 1_700_000_000)
DIRTY = Checkout(COMMIT, 1_700_000_000, ("file",), "89abcdef")
REQUEST = Request(("linux/amd64", "linux/arm64"))
TODAY = dt.date(2026, 3, 1)


def flags(**changes: object) -> Options:
    return Options([], ["ghcr.io/me/letta"], **changes)  # type: ignore[arg-type]


def test_a_release_has_the_labels_that_lead_back_to_it() -> None:
    wanted = flags(revision="2").wanted(REQUEST, CLEAN, TODAY)

    assert wanted.version.tag == f"{PINNED}-r2"
    assert wanted.platforms == REQUEST.platforms
    assert wanted.labels == {
        server.VERSION_LABEL: f"{PINNED}-r2",
        server.REVISION_LABEL: COMMIT,
        options.CREATED_LABEL: "2023-11-14T22:13:20Z",
    }


def test_a_dirty_tree_is_refused_or_becomes_a_version_that_floats_nowhere() -> None:
    with pytest.raises(DirtyTree):
        flags().wanted(REQUEST, DIRTY, TODAY)

    wanted = flags(allow_dirty=True).wanted(REQUEST, DIRTY, TODAY)

    assert wanted.version.tag == f"{PINNED}_dev.g0123456.d89abcdef"
    assert [one.tag for one in wanted.decide([]) if one.write] == [wanted.version.tag]


@pytest.mark.parametrize("channel", ["nightly", "commit"])
def test_a_tag_that_names_a_commit_needs_all_of_it_committed(channel: str) -> None:
    with pytest.raises(DirtyTree):
        flags(channel=channel, allow_dirty=True).wanted(REQUEST, DIRTY, TODAY)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"version": "0.16.1"}, VersionsDisagree),
        ({"version": "0.17.0"}, LettaCode),
        ({"channel": "stable"}, BadValue),
        ({"revision": "two"}, BadValue),
    ],
)
def test_flags_that_cannot_be_meant(given: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        flags(**given).wanted(REQUEST, CLEAN, TODAY)


def test_a_patched_build_may_carry_a_local_part() -> None:
    wanted = flags(version=f"{PINNED}+mine").wanted(REQUEST, CLEAN, TODAY)

    assert wanted.version.tag == f"{PINNED}_mine"


def test_there_is_no_default_place_to_push_to() -> None:
    with pytest.raises(BadReference, match="--repository"):
        Options([], []).targets()
    assert flags().targets() == [Target("ghcr.io", "me/letta")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ("linux/amd64", "linux/arm64")),
        (["linux/arm64"], ("linux/arm64",)),
        (["linux/arm64,linux/amd64", "linux/arm64"], ("linux/arm64", "linux/amd64")),
    ],
)
def test_a_push_is_for_both_platforms_unless_some_are_named(
    given: list[str], expected: tuple[str, ...]
) -> None:
    sources = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)

    assert build.request_of(sources, given, no_cache=False).platforms == expected


def test_an_unknown_platform_is_refused() -> None:
    sources = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)

    with pytest.raises(BadValue, match="linux/s390x"):
        build.request_of(sources, ["linux/s390x"], no_cache=False)


def test_a_build_depends_on_the_commits_time_and_not_on_the_clock() -> None:
    assert build.output_options("x.tar", CLEAN) == [
        "--build-arg=SOURCE_DATE_EPOCH=1700000000",
        "--output=type=oci,dest=x.tar,force-compression=true",
    ]


@pytest.mark.parametrize("text", ["", "latest", "sha256:1", "sha256:" + "g" * 64, "a" * 64])
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(BadReference, match="is no digest"):
        promote.check_digest(text)


@pytest.mark.parametrize(
    ("driver", "rebuilt", "fits"),
    [("docker", True, True), ("remote", False, True), ("remote", True, False)],
)
def test_another_builder_does_not_see_the_engines_images(
    driver: str, rebuilt: bool, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = third_party.Plan({}, {"DEBIAN_IMAGE": "letta-stack/debian:1"} if rebuilt else {}, ())
    monkeypatch.setattr(process, "capture", lambda *_, **__: f"Name:   x\nDriver: {driver}\n")
    monkeypatch.setattr(third_party, "choose", lambda *_, **__: plan)

    if fits:
        build.check_builder(REQUEST)
        return
    with pytest.raises(BuilderUnfit, match="BUILDX_BUILDER=default"):
        build.check_builder(REQUEST)


def metadata(version: str) -> bytes:
    name = f"opt/letta/venv/lib/python3.11/site-packages/letta-{version}.dist-info/METADATA"
    return layer(
        {
            "opt/letta/venv/lib/python3.11/site-packages/letta_client-1.0.dist-info/METADATA": b"x",
            name: f"Metadata-Version: 2.4\nName: letta\nVersion: {version}\n".encode(),
        }
    )


def check(path: Path, layers: dict[str, list[bytes]], release: ImageVersion) -> None:
    with Layout(write_layout(path / "image.tar", layers)) as layout:
        version_check.check_metadata(layout.image, release)


def test_the_letta_inside_is_compared_with_the_tag_on_every_platform(tmp_path: Path) -> None:
    below = layer({"etc/x": b"x"})
    good = {"linux/amd64": [below, metadata("0.16.8")], "linux/arm64": [metadata("0.16.8"), below]}

    check(tmp_path, good, parse_version("0.16.8-r2"))
    with pytest.raises(VersionsDisagree, match=r"linux/arm64: image metadata says Letta 0\.16\.7"):
        check(tmp_path, {**good, "linux/arm64": [metadata("0.16.7")]}, parse_version("0.16.8"))
    with pytest.raises(ContentBroken, match="linux/arm64 has no Letta"):
        check(tmp_path, {**good, "linux/arm64": [below]}, parse_version("0.16.8"))


def test_a_source_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadValue, match="does not exist"):
        server.existing("/no/such/source")
