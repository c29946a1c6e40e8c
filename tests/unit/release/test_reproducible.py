from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import NotReproducible
from letta_stack.registry.layout import Layout
from letta_stack.release import reproducible
from tests.support.layouts import layer, write_layout

if TYPE_CHECKING:
    from pathlib import Path

TWO = {"linux/amd64": [layer({"a": b"1"})], "linux/arm64": [layer({"a": b"2"})]}


def differences(tmp_path: Path, ours: list[bytes], theirs: list[bytes]) -> list[str]:
    first = write_layout(tmp_path / "first.tar", {"linux/amd64": ours})
    second = write_layout(tmp_path / "second.tar", {"linux/amd64": theirs})
    with Layout(first) as one, Layout(second) as other:
        return list(reproducible.compare(one.image, other.image))


def test_equal_images_have_no_difference(tmp_path: Path) -> None:
    assert differences(tmp_path, [layer({"a": b"1"})], [layer({"a": b"1"})]) == []


def test_a_difference_names_platform_layer_step_file_and_kind(tmp_path: Path) -> None:
    same = layer({"x": b"x"})
    found = differences(
        tmp_path,
        [same, layer({"etc/a": b"1", "etc/b": b"1"})],
        [same, layer({"etc/a": b"2", "etc/c": b"1"})],
    )

    prefix = "linux/amd64: layer 2 (COPY 1): "
    assert found == [
        f"{prefix}/etc/a: content",
        f"{prefix}/etc/b: only in the first build",
        f"{prefix}/etc/c: only in the second build",
    ]


def test_a_time_that_differs_is_a_difference(tmp_path: Path) -> None:
    found = differences(tmp_path, [layer({"a": b"1"})], [layer({"a": b"1"}, mtime=5)])

    assert found == ["linux/amd64: layer 1 (COPY 0): /a: mtime"]


def test_two_builds_that_differ_end_with_an_error_that_names_the_first_file(tmp_path: Path) -> None:
    contents = iter((b"1", b"2"))
    lines: list[str] = []

    def build(path: Path) -> None:
        write_layout(path, {"linux/amd64": [layer({"a": next(contents)})]})

    with pytest.raises(NotReproducible, match=r"first in linux/amd64: layer 1 .*/a: content"):
        reproducible.check(build, needed_bytes=0, say=lines.append)
    assert len(lines) == 1


def test_two_builds_that_agree_print_their_digest(tmp_path: Path) -> None:
    lines: list[str] = []

    reproducible.check(_write_two, needed_bytes=0, say=lines.append)

    assert [line.split(":")[0] for line in lines] == ["linux/amd64", "linux/arm64"]


def _write_two(path: Path) -> None:
    write_layout(path, TWO)
