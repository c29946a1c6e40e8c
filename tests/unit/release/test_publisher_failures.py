"""How a push ends that cannot be finished, and what it leaves; against a registry in memory."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

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
from letta_stack.registry.repository import Repository
from tests.support.releases import (
    LABELS,
    NAMES,
    PLATFORMS,
    WANTED,
    A,
    B,
    no_build,
    publisher,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from letta_stack.registry.oci import Image, Manifest
    from tests.support.memory_registry import MemoryRegistry

    Built = Callable[..., Callable[[Path], None]]


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


def test_an_upload_that_fails_says_so(registry: MemoryRegistry, built: Built) -> None:
    registry.failing["a.example"] = 507

    with pytest.raises(RegistryFull):
        publisher().upload(built(), needed_bytes=0)


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

    lines: list[str] = []
    with pytest.raises(RegistryDenied, match="no right to move it"):
        publisher(lines=lines).push(built(), needed_bytes=0)
    assert lines[-1] == f"{A}: failed: no right to move it"
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
