"""What a push writes, in which order, and how it ends; against a registry in memory."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.errors import (
    ContentBroken,
    InterruptedByUser,
    PlatformMissing,
    RegistryDenied,
    RegistryFull,
    ReleaseIncomplete,
    TagTaken,
)
from letta_stack.registry import credentials
from letta_stack.registry.reference import Target
from letta_stack.registry.repository import Repository
from letta_stack.registry.retries import RetryPolicy
from letta_stack.release import tags
from letta_stack.release.plan import Wanted
from letta_stack.release.publisher import Publisher
from letta_stack.release.tags import Channel
from tests.support.layouts import layer, write_layout
from tests.support.memory_registry import MemoryRegistry
from tests.support.scripted import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from letta_stack.registry.oci import Image

    Built = Callable[..., Callable[[Path], None]]

A, B = Target("a.example", "letta/letta"), Target("b.example", "letta/letta")
PLATFORMS = ("linux/amd64", "linux/arm64")
LABELS = {"org.opencontainers.image.version": "0.16.8", "letta-stack.inputs": "abc"}
WANTED = Wanted(
    channel=Channel.RELEASE,
    version=tags.parse_version("0.16.8"),
    commit="0123456789abcdef",
    day=dt.date(2026, 11, 24),
    platforms=PLATFORMS,
    labels=LABELS,
)
NIGHTLY = replace(WANTED, channel=Channel.NIGHTLY)
NAMES = ("0.16.8", "0.16", "latest")
QUICK = RetryPolicy(attempts=2, first_wait=0.0, longest_wait=0.0)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> MemoryRegistry:
    one = MemoryRegistry()
    monkeypatch.setattr(credentials, "find", lambda _: None)
    monkeypatch.setattr(requests.Session, "request", one.request)
    return one


@pytest.fixture
def built(tmp_path: Path) -> Built:
    """Return what makes a build: a function that writes an image for both platforms, or for those given."""

    def make(
        payload: bytes = b"one",
        platforms: tuple[str, ...] = PLATFORMS,
        labels: Mapping[str, str] = LABELS,
    ) -> Callable[[Path], None]:
        layers = {name: [layer({name: payload})] for name in platforms}
        path = write_layout(tmp_path / f"{payload.decode()}.tar", layers, labels=labels)
        return lambda destination: _copy(path, destination)

    return make


def _copy(source: Path, destination: Path) -> None:
    shutil.copyfile(source, destination)


def publisher(
    *targets: Target, wanted: Wanted = WANTED, lines: list[str] | None = None, **options: object
) -> Publisher:
    say = (lambda _: None) if lines is None else lines.append
    return Publisher(wanted, targets or (A,), say, policy=QUICK, **options)  # type: ignore[arg-type]


def no_build(_: Path) -> None:
    pytest.fail("nothing was to be built")


def test_content_goes_first_then_the_immutable_tags_then_the_floating_ones(
    registry: MemoryRegistry, built: Built
) -> None:
    digest = publisher(A, B).push(built(), needed_bytes=0)

    for host in ("a.example", "b.example"):
        assert registry.stored[f"{host}/letta/letta"].tags == dict.fromkeys(NAMES, digest)
    content = [
        f"{host} {kind}"
        for host in ("a.example", "b.example")
        for kind in ["blob"] * 4 + ["manifest"] * 3
    ]
    assert registry.writes == [
        *content,
        *("a.example 0.16.8", "b.example 0.16.8"),
        *("a.example 0.16", "a.example latest", "b.example 0.16", "b.example latest"),
    ]


def test_the_user_reads_plan_digest_traffic_and_every_tag(
    registry: MemoryRegistry, built: Built
) -> None:
    lines: list[str] = []

    digest = publisher(lines=lines).push(built(), needed_bytes=0)

    assert registry.writes
    assert lines[0] == "a.example/letta/letta"
    assert lines[4] == f"image {digest} (linux/amd64, linux/arm64)"
    assert lines[5] == (
        "a.example/letta/letta: content verified; 4 blobs uploaded (0.0 MB), 0 were there (0.0 MB)"
    )
    assert lines[6:] == [f"a.example/letta/letta:{tag} new" for tag in NAMES]


def test_the_same_push_again_writes_nothing(registry: MemoryRegistry, built: Built) -> None:
    first = publisher().push(built(), needed_bytes=0)
    registry.writes.clear()
    lines: list[str] = []

    assert publisher(lines=lines).push(built(), needed_bytes=0) == first

    assert registry.writes == []
    assert "0 blobs uploaded (0.0 MB), 4 were there" in lines[5]
    assert lines[6:] == [f"a.example/letta/letta:{tag} unchanged" for tag in NAMES]


def test_another_build_of_a_version_is_refused_before_anything_is_sent(
    registry: MemoryRegistry, built: Built
) -> None:
    publisher(B).push(built(), needed_bytes=0)
    registry.writes.clear()

    with pytest.raises(TagTaken, match=r"b\.example"):
        publisher(A, B).push(built(b"two"), needed_bytes=0)

    assert registry.writes == []


@pytest.mark.parametrize("untagged", [False, True])
def test_an_image_is_checked_before_anything_is_sent(
    untagged: bool, registry: MemoryRegistry, built: Built
) -> None:
    def refuse(_: Image) -> None:
        raise ContentBroken("not the right Letta")

    for one, error in (
        (publisher(inspect=refuse), ContentBroken),
        (publisher(wanted=replace(WANTED, platforms=PLATFORMS[:1])), PlatformMissing),
        (publisher(wanted=replace(WANTED, labels={"letta-stack.inputs": "x"})), ContentBroken),
    ):
        with pytest.raises(error):
            (one.upload if untagged else one.push)(built(), needed_bytes=0)
    assert registry.writes == []


def test_one_registry_that_fails_is_named_and_the_other_is_complete(
    registry: MemoryRegistry, built: Built
) -> None:
    registry.failing["a.example"] = 507
    lines: list[str] = []

    with pytest.raises(ReleaseIncomplete, match=rf"released in: {B}; NOT in {A}: .*no room"):
        publisher(A, B, lines=lines).push(built(), needed_bytes=0)

    assert set(registry.stored[str(B)].tags) == set(NAMES)
    assert registry.stored[str(A)].tags == {}
    assert any(line.startswith(f"{A}: failed: ") for line in lines)


def test_a_tag_that_was_taken_meanwhile_fails_its_registry_only(
    registry: MemoryRegistry,
    built: Built,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verify = Repository.verify

    def somebody_else(self: Repository, digest: str) -> Image:
        image = verify(self, digest)
        if self.target == A:
            registry.stored[str(A)].tags["0.16.8"] = "sha256:" + "f" * 64
            other = next(iter(registry.stored[str(A)].manifests.values()))
            registry.stored[str(A)].manifests["sha256:" + "f" * 64] = other
        return image

    monkeypatch.setattr(Repository, "verify", somebody_else)

    with pytest.raises(ReleaseIncomplete, match=rf"released in: {B}; NOT in {A}: "):
        publisher(A, B).push(built(), needed_bytes=0)

    assert set(registry.stored[str(A)].tags) == {"0.16.8"}
    assert set(registry.stored[str(B)].tags) == set(NAMES)


def test_ctrl_c_while_content_is_sent_says_what_is_left(
    registry: MemoryRegistry,
    built: Built,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Repository, "put_blob", interrupt)

    with pytest.raises(InterruptedByUser, match=rf"not complete: {A}, {B}"):
        publisher(A, B).push(built(), needed_bytes=0)
    assert registry.writes == []


def test_an_upload_has_no_name_and_becomes_a_release_by_its_digest(
    registry: MemoryRegistry, built: Built
) -> None:
    halves = [
        publisher(wanted=replace(WANTED, platforms=(platform,))).upload(
            built(platform[-5:].encode(), (platform,)), needed_bytes=0
        )
        for platform in PLATFORMS
    ]
    assert registry.stored[str(A)].tags == {}

    with Repository(A, policy=QUICK) as source:
        joined = publisher(B).promote(source, halves)

    assert joined not in halves
    assert registry.stored[str(B)].tags == dict.fromkeys(NAMES, joined)


def test_an_upload_that_fails_says_so(registry: MemoryRegistry, built: Built) -> None:
    registry.failing["a.example"] = 507

    with pytest.raises(RegistryFull):
        publisher().upload(built(), needed_bytes=0)


def test_a_preview_writes_nothing(registry: MemoryRegistry) -> None:
    lines: list[str] = []

    publisher(A, B, lines=lines).preview()

    assert registry.writes == []
    assert [line.split()[0] for line in lines] == [str(A), *NAMES, str(B), *NAMES]


def test_a_preview_of_what_cannot_be_read_says_that_a_push_may_make_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    denied = answer(401, WWW_Authenticate='Basic realm="x"')
    monkeypatch.setattr(credentials, "find", lambda _: None)
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: denied)

    with pytest.raises(
        RegistryDenied, match=r"docker login.*if it does not exist yet, only a push"
    ):
        publisher().preview()


def test_what_is_published_is_found_without_a_build_and_copied(
    registry: MemoryRegistry, built: Built
) -> None:
    def inspect(_: Image) -> None:
        pytest.fail("the layers were read again")

    digest = publisher(B).push(built(), needed_bytes=0)
    registry.writes.clear()
    lines: list[str] = []

    found = publisher(A, B, lines=lines, inspect=inspect).push(no_build, needed_bytes=0, reuse=True)

    assert found == digest
    assert registry.stored[str(A)].tags == dict.fromkeys(NAMES, digest)
    assert not [write for write in registry.writes if write.startswith("b.example")]
    assert "not built: it is published with the same inputs (--no-cache builds it anew)" in lines


@pytest.mark.parametrize(
    "wanted",
    [
        replace(WANTED, labels={**LABELS, "letta-stack.inputs": "abd"}),
        replace(WANTED, labels={**LABELS, "org.opencontainers.image.revision": "x"}),
        replace(WANTED, platforms=PLATFORMS[:1]),
        replace(WANTED, platforms=(*PLATFORMS, "linux/s390x")),
    ],
)
def test_what_differs_in_anything_is_built(
    wanted: Wanted, registry: MemoryRegistry, built: Built
) -> None:
    publisher().push(built(), needed_bytes=0)
    registry.writes.clear()

    with pytest.raises(pytest.fail.Exception):
        publisher(wanted=wanted).push(no_build, needed_bytes=0, reuse=True)


def test_what_lost_content_is_built(registry: MemoryRegistry, built: Built) -> None:
    digest = publisher().push(built(), needed_bytes=0)
    lost = registry.stored[str(A)].blobs.popitem()

    assert publisher().push(built(), needed_bytes=0, reuse=True) == digest

    assert lost[0] in registry.stored[str(A)].blobs


def test_nightlies_of_a_day_are_numbered_over_all_registries(
    registry: MemoryRegistry, built: Built
) -> None:
    first = publisher(A, wanted=NIGHTLY).push(built(), needed_bytes=0)
    second = publisher(A, B, wanted=NIGHTLY).push(built(b"two"), needed_bytes=0)

    assert registry.stored[str(A)].tags == {
        "nightly-20261124": first,
        "nightly-20261124-2": second,
        "nightly": second,
    }
    assert registry.stored[str(B)].tags == {"nightly-20261124-2": second, "nightly": second}
    assert publisher(A, B, wanted=NIGHTLY).push(built(b"two"), needed_bytes=0) == second
    assert len(registry.stored[str(A)].tags) == 3


def test_an_unchanged_nightly_is_found_under_any_number_of_its_day(
    registry: MemoryRegistry, built: Built
) -> None:
    others = {**LABELS, "letta-stack.inputs": "others"}
    publisher(wanted=replace(NIGHTLY, labels=others)).push(
        built(b"one", labels=others), needed_bytes=0
    )
    second = publisher(wanted=NIGHTLY).push(built(b"two"), needed_bytes=0, reuse=True)
    before = dict(registry.stored[str(A)].tags)

    assert publisher(wanted=NIGHTLY).push(no_build, needed_bytes=0, reuse=True) == second

    assert registry.stored[str(A)].tags == before
    assert set(before) == {"nightly-20261124", "nightly-20261124-2", "nightly"}
