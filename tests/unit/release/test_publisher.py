"""What a push writes, in which order, and how it ends; against a registry in memory."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.engine import disk
from letta_stack.errors import (
    ContentBroken,
    InterruptedByUser,
    PlatformMissing,
    RegistryDenied,
    RegistryFull,
    RegistryReadOnly,
    RegistryUnreachable,
    ReleaseIncomplete,
    TagTaken,
)
from letta_stack.registry import credentials
from letta_stack.registry.reference import Target
from letta_stack.registry.repository import Repository
from letta_stack.registry.retries import RetryPolicy
from letta_stack.release import publisher as publisher_module
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

    from letta_stack.registry.oci import Image, Manifest

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


@pytest.mark.parametrize("untagged", [False, True])
def test_nothing_is_built_for_a_registry_that_takes_nothing(
    untagged: bool, registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(self: Repository) -> None:
        if self.target == B:
            raise RegistryReadOnly("read-only")

    monkeypatch.setattr(Repository, "check_writable", check)
    one = publisher(A, B)

    with pytest.raises(RegistryReadOnly):
        (one.upload if untagged else one.push)(no_build, needed_bytes=0)


def test_a_registry_is_asked_as_often_as_the_policy_says(
    registry: MemoryRegistry, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    lines: list[str] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    registry.failing["a.example"] = 503

    with pytest.raises(RegistryUnreachable):
        publisher(lines=lines).push(built(), needed_bytes=0)

    assert pauses == [0.0]
    assert any("again in 0.0 s (1 of 1)" in line for line in lines)


def test_repositories_are_opened_with_ca_and_plain_hosts(
    registry: MemoryRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[Target, dict[str, object]]] = []

    def note(target: Target, **options: object) -> Repository:
        opened.append((target, options))
        return Repository(target)

    monkeypatch.setattr(publisher_module, "Repository", note)
    one = publisher(A, B, ca=tmp_path / "ca.pem", plain_http=["a.example"])

    one.preview()

    options = {
        "ca": tmp_path / "ca.pem",
        "plain_http": ["a.example"],
        "policy": QUICK,
        "say": one.say,
    }
    assert opened == [(A, options), (B, options)]


def test_a_build_has_a_directory_with_enough_room_that_goes_away(
    registry: MemoryRegistry, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, int]] = []
    monkeypatch.setattr(disk, "check_room", lambda *one: asked.append(one))
    paths: list[Path] = []
    make = built()

    def build(path: Path) -> None:
        paths.append(path)
        make(path)

    publisher().push(build, needed_bytes=7)

    assert asked == [(paths[0].parent, 7)]
    assert paths[0].parent.name.startswith("letta-stack-")
    assert not paths[0].parent.exists()


@pytest.mark.parametrize(("broken", "complete"), [("latest", "none"), (None, str(A))])
def test_ctrl_c_between_tags_says_what_is_complete(
    broken: str | None,
    complete: str,
    registry: MemoryRegistry,
    built: Built,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put = Repository.put_manifest

    def interrupt(self: Repository, reference: str, manifest: Manifest) -> None:
        if reference == broken or (self.target == B and reference == "latest"):
            raise KeyboardInterrupt
        put(self, reference, manifest)

    monkeypatch.setattr(Repository, "put_manifest", interrupt)

    with pytest.raises(InterruptedByUser, match=rf"; complete: {complete}; not complete: "):
        publisher(A, B).push(built(), needed_bytes=0)


def test_a_floating_tag_that_cannot_be_written_leaves_its_registry_incomplete(
    registry: MemoryRegistry, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Repository.put_manifest

    def refuse(self: Repository, reference: str, manifest: Manifest) -> None:
        if reference == "latest":
            raise RegistryDenied("no right to move it")
        put(self, reference, manifest)

    monkeypatch.setattr(Repository, "put_manifest", refuse)

    with pytest.raises(RegistryDenied, match="no right to move it"):
        publisher().push(built(), needed_bytes=0)
    assert set(registry.stored[str(A)].tags) == {"0.16.8", "0.16"}


def test_a_registry_whose_immutable_tag_fails_gets_no_floating_ones(
    registry: MemoryRegistry, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Repository.put_manifest

    def refuse(self: Repository, reference: str, manifest: Manifest) -> None:
        if self.target == A and reference == "0.16.8":
            raise RegistryDenied("immutable")
        put(self, reference, manifest)

    monkeypatch.setattr(Repository, "put_manifest", refuse)

    with pytest.raises(ReleaseIncomplete, match=f"released in: {B}; NOT in {A}: immutable"):
        publisher(A, B).push(built(), needed_bytes=0)
    assert registry.stored[str(A)].tags == {}


def test_a_preview_compares_with_what_is_there(registry: MemoryRegistry, built: Built) -> None:
    digest = publisher().push(built(), needed_bytes=0)
    lines: list[str] = []

    publisher(lines=lines).preview()

    now = f"(now {digest[:19]})"
    assert lines == [
        str(A),
        f"  0.16.8  immutable  exists, must get the same digest {now}: names this image for good",
        f"  0.16    floating   moves {now}: 0.16.8 is the highest final version of its series",
        f"  latest  floating   moves {now}: 0.16.8 is the highest final version",
    ]


def test_what_is_being_done_is_said(registry: MemoryRegistry, built: Built) -> None:
    lines: list[str] = []

    digest = publisher(lines=lines).push(built(), needed_bytes=0)

    assert lines == [
        str(A),
        "  0.16.8  immutable  new: names this image for good",
        "  0.16    floating   new: 0.16.8 is the highest final version of its series",
        "  latest  floating   new: 0.16.8 is the highest final version",
        f"image {digest} (linux/amd64, linux/arm64)",
        f"{A}: content verified; 4 blobs uploaded (0.0 MB), 0 were there (0.0 MB)",
        *(f"{A}:{tag} new" for tag in NAMES),
    ]


def test_megabytes_are_counted_by_the_million(
    registry: MemoryRegistry, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []

    def put(self: Repository, *_: object) -> None:
        self.traffic.uploaded_bytes += 1_500_000
        self.traffic.present_bytes += 1_000_000

    monkeypatch.setattr(Repository, "put_blob", put)
    monkeypatch.setattr(Repository, "put_manifest", lambda *_: None)
    monkeypatch.setattr(Repository, "verify", lambda *_: None)

    publisher(lines=lines).push(built(), needed_bytes=0)

    assert f"{A}: content verified; 0 blobs uploaded (6.0 MB), 0 were there (4.0 MB)" in lines


def test_the_first_of_two_published_images_that_fits_is_taken(
    registry: MemoryRegistry, built: Built
) -> None:
    other = {**LABELS, "letta-stack.inputs": "x"}
    publisher(A, wanted=replace(WANTED, labels=other)).push(
        built(b"two", labels=other), needed_bytes=0
    )
    digest = publisher(B).push(built(), needed_bytes=0)

    with pytest.raises(TagTaken, match=rf"{A}:0\.16\.8 is .* this build is {digest}"):
        publisher(A, B).push(no_build, needed_bytes=0, reuse=True)


def test_one_digest_is_promoted_as_it_is(registry: MemoryRegistry, built: Built) -> None:
    digest = publisher().upload(built(), needed_bytes=0)

    with Repository(A, policy=QUICK) as source:
        assert publisher(B).promote(source, [digest]) == digest
        assert publisher(A).promote(source, [digest]) == digest

    for target in (A, B):
        assert registry.stored[str(target)].tags == dict.fromkeys(NAMES, digest)


def test_a_promotion_is_checked_like_a_build(registry: MemoryRegistry, built: Built) -> None:
    digest = publisher().upload(built(), needed_bytes=0)
    registry.writes.clear()

    with (
        Repository(A, policy=QUICK) as source,
        pytest.raises(PlatformMissing),
    ):
        publisher(B, wanted=replace(WANTED, platforms=PLATFORMS[:1])).promote(source, [digest])
    assert registry.writes == []
