"""What a push writes, in which order, and what it finds; against a registry in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from letta_stack.engine import disk
from letta_stack.registry.repository import Repository
from letta_stack.release import publisher as publisher_module
from tests.support.releases import (
    LABELS,
    NAMES,
    NIGHTLY,
    PLATFORMS,
    QUICK,
    WANTED,
    A,
    B,
    no_build,
    publisher,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from letta_stack.registry.oci import Image
    from letta_stack.registry.reference import Target
    from letta_stack.release.plan import Wanted
    from tests.support.memory_registry import MemoryRegistry

    Built = Callable[..., Callable[[Path], None]]


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


def test_the_same_push_again_writes_nothing(registry: MemoryRegistry, built: Built) -> None:
    first = publisher().push(built(), needed_bytes=0)
    registry.writes.clear()
    lines: list[str] = []

    assert publisher(lines=lines).push(built(), needed_bytes=0) == first

    assert registry.writes == []
    assert "0 blobs uploaded (0.0 MB), 4 were there" in lines[5]
    assert lines[6:] == [f"a.example/letta/letta:{tag} unchanged" for tag in NAMES]


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
