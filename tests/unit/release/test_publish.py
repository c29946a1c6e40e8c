from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from letta_stack.base import process
from letta_stack.base.git import Checkout
from letta_stack.engine import disk, inspect
from letta_stack.errors import (
    BadReference,
    BadValue,
    BuilderUnfit,
    DirtyTree,
    LettaCode,
    VersionsDisagree,
)
from letta_stack.image import server, third_party
from letta_stack.image.server import Request
from letta_stack.image.sources import Sources
from letta_stack.pins.file import Pins
from letta_stack.registry.reference import Target
from letta_stack.release import build, promote
from letta_stack.release.options import Options
from letta_stack.release.plan import Wanted
from letta_stack.release.tags import Channel, parse_version

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

    assert wanted == Wanted(
        channel=Channel.RELEASE,
        version=parse_version(f"{PINNED}-r2"),
        commit=COMMIT,
        day=TODAY,
        platforms=REQUEST.platforms,
        labels={
            "org.opencontainers.image.version": f"{PINNED}-r2",
            "org.opencontainers.image.revision": COMMIT,
            "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
        },
    )


@pytest.mark.parametrize("channel", ["nightly", "commit"])
def test_another_channel_is_another_release(channel: str) -> None:
    wanted = flags(channel=channel, allow_older=True).wanted(REQUEST, CLEAN, TODAY)

    assert (wanted.channel, wanted.allow_older) == (channel, True)


@pytest.mark.parametrize("allowed", [False, True])
def test_letta_code_is_no_server_unless_the_user_says_so(allowed: bool) -> None:
    options = flags(version="0.17.0", allow_letta_code=allowed)

    # What the source says is compared after that.
    with pytest.raises(VersionsDisagree if allowed else LettaCode):
        options.wanted(REQUEST, CLEAN, TODAY)


def test_the_version_is_that_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "letta"\nversion = "0.16.5"\n')
    request = Request(("linux/amd64",), letta_source=tmp_path)

    assert flags().wanted(request, CLEAN, TODAY).version.tag == "0.16.5"


def test_uncommitted_changes_are_joined_to_a_local_version() -> None:
    wanted = flags(version=f"{PINNED}+mine", allow_dirty=True).wanted(REQUEST, DIRTY, TODAY)

    assert wanted.version.tag == f"{PINNED}_mine.dev.g0123456.d89abcdef"


def test_a_name_that_became_too_long_is_refused() -> None:
    local = "x" * 110

    with pytest.raises(BadReference, match="cannot be a tag"):
        flags(version=f"{PINNED}+{local}", allow_dirty=True).wanted(REQUEST, DIRTY, TODAY)


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
    ("given", "error", "named"),
    [
        ({"version": "0.16.1"}, VersionsDisagree, "the source says"),
        ({"channel": "stable"}, BadValue, "--channel "),
        ({"revision": "two"}, BadValue, "--revision "),
    ],
)
def test_flags_that_cannot_be_meant(
    given: dict[str, str], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
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


def test_a_request_has_all_that_the_user_said_about_sources() -> None:
    source, ca = Path("letta"), Path("ca.pem")
    sources = Sources(images="debian", otelcol="build", letta_source=source, ca=ca)

    assert build.request_of(sources, ["linux/arm64"], no_cache=True) == Request(
        ("linux/arm64",), "debian", "build", source, ca, no_cache=True
    )


def test_an_unknown_platform_is_refused() -> None:
    sources = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)

    with pytest.raises(BadValue, match=r"--platform .*linux/s390x"):
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
    [
        ("docker", True, True),
        ("docker-container", False, True),
        ("docker-container", True, False),
        ("", True, True),
    ],
)
def test_another_builder_does_not_see_the_engines_images(
    driver: str, rebuilt: bool, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = third_party.Selection(
        {}, {"DEBIAN_IMAGE": "letta-stack/debian:1"} if rebuilt else {}, ()
    )
    builder = f"Name:   x\nDriver: {driver}\n" if driver else "Name:   x\n"
    answers = {("docker", "buildx", "inspect"): builder}
    monkeypatch.setattr(process, "capture", lambda argv: answers[tuple(argv)])
    monkeypatch.setattr(third_party, "choose", lambda *_, **__: plan)

    if fits:
        build.check_builder(REQUEST)
        return
    with pytest.raises(BuilderUnfit, match=r"\(docker-container\) .*DEBIAN_IMAGE.*BUILDX_BUILDER="):
        build.check_builder(REQUEST)


def test_a_machine_is_asked_for_engine_disk_and_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(inspect, "require", lambda: "engine")
    monkeypatch.setattr(disk, "check", lambda engine, *, build: asked.append((engine, build)))
    monkeypatch.setattr(build, "check_builder", asked.append)

    build.check_machine(REQUEST)

    assert asked == [("engine", True), REQUEST]


def test_a_source_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadValue, match="does not exist"):
        server.existing("/no/such/source")
