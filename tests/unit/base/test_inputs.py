from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.base import content_hash

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_text("1")
    (tmp_path / "a" / "two").write_text("2")
    (tmp_path / "link").symlink_to("a/one")
    return tmp_path


def digest(tree: Path, *facts: str) -> str:
    return content_hash.digest(tree, (tree / "a", tree / "link"), facts)


def content(tree: Path) -> None:
    (tree / "a" / "one").write_text("3")


def name(tree: Path) -> None:
    (tree / "a" / "one").rename(tree / "a" / "eins")


def executable(tree: Path) -> None:
    (tree / "a" / "one").chmod(0o755)


def added(tree: Path) -> None:
    (tree / "a" / "three").write_text("")


def removed(tree: Path) -> None:
    (tree / "a" / "two").unlink()


def link(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("a/two")


@pytest.mark.parametrize("change", [content, name, executable, added, removed, link])
def test_every_change_gives_another_name(tree: Path, change: Callable[[Path], None]) -> None:
    before = digest(tree)

    change(tree)

    assert digest(tree) != before


def test_what_git_does_not_keep_gives_the_same_name(tree: Path) -> None:
    before = digest(tree)

    (tree / "a" / "one").chmod(0o600)
    (tree / "a" / "__pycache__").mkdir()
    (tree / "a" / "__pycache__" / "one.pyc").write_text("")

    assert digest(tree) == before


def test_facts_are_told_apart(tree: Path) -> None:
    assert (
        len({digest(tree), digest(tree, "ab"), digest(tree, "a", "b"), digest(tree, "b", "a")}) == 4
    )
