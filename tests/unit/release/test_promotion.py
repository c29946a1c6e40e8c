"""What is promoted by its digest, without a build; against a registry in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import (
    PlatformMissing,
    RegistryReadOnly,
)
from letta_stack.registry.repository import Repository
from tests.support.releases import NAMES, PLATFORMS, QUICK, WANTED, A, B, publisher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.memory_registry import MemoryRegistry

    Built = Callable[..., Callable[[Path], None]]


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


def test_one_digest_is_promoted_as_it_is(registry: MemoryRegistry, built: Built) -> None:
    digest = publisher().upload(built(), needed_bytes=0)

    with Repository(A, policy=QUICK) as source:
        assert publisher(B).promote(source, [digest]) == digest
        assert publisher(A).promote(source, [digest]) == digest

    for target in (A, B):
        assert registry.stored[str(target)].tags == dict.fromkeys(NAMES, digest)


def test_a_promotion_finds_out_first_whether_it_may_write(
    registry: MemoryRegistry, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = publisher().upload(built(), needed_bytes=0)
    lines: list[str] = []

    def refuse(_: Repository) -> None:
        raise RegistryReadOnly("read-only")

    with Repository(A, policy=QUICK) as source:
        publisher(B, lines=lines).promote(source, [digest])
        assert [line.split()[0] for line in lines[:4]] == [str(B), *NAMES]

        monkeypatch.setattr(Repository, "check_writable", refuse)
        with pytest.raises(RegistryReadOnly):
            publisher(B).promote(source, [digest])


def test_a_promotion_is_checked_like_a_build(registry: MemoryRegistry, built: Built) -> None:
    digest = publisher().upload(built(), needed_bytes=0)
    registry.writes.clear()

    with (
        Repository(A, policy=QUICK) as source,
        pytest.raises(PlatformMissing),
    ):
        publisher(B, wanted=replace(WANTED, platforms=PLATFORMS[:1])).promote(source, [digest])
    assert registry.writes == []
