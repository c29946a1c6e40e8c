from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import git
from letta_stack.base.git import Checkout
from letta_stack.errors import DirtyTree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def clone(tmp_path: Path, real_processes: None) -> Path:
    (tmp_path / "file").write_text("one", encoding="utf-8")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_clean_checkout_is_its_commit(clone: Path) -> None:
    found = git.read(clone)

    assert len(found.commit) == 40
    assert found.epoch > 1_700_000_000
    assert (found.dirty, found.local_part) == ((), "")
    git.check_clean(found, allow_dirty=False)


def test_changes_and_new_files_are_named_and_have_a_fingerprint_of_their_own(clone: Path) -> None:
    (clone / "new file").write_text("two", encoding="utf-8")
    first = git.read(clone)
    (clone / "file").write_text("three", encoding="utf-8")
    second = git.read(clone)

    assert first.dirty == ("new file",)
    assert set(second.dirty) == {"file", "new file"}
    assert first.local_part != second.local_part
    assert second.local_part == git.read(clone).local_part
    with pytest.raises(DirtyTree, match=r"not committed: new file; .*--allow-dirty"):
        git.check_clean(first, allow_dirty=False)
    git.check_clean(first, allow_dirty=True)


def test_a_deleted_file_is_a_change(clone: Path) -> None:
    (clone / "file").unlink()

    assert git.read(clone).dirty == ("file",)


def test_no_clone_is_refused(tmp_path: Path, real_processes: None) -> None:
    with pytest.raises(DirtyTree, match="release from a clone"):
        git.read(tmp_path)


def test_many_changes_are_counted() -> None:
    found = Checkout("0" * 40, 0, ("a", "b", "c", "d", "e"), "f")

    with pytest.raises(DirtyTree, match="a, b, c and 2 more;"):
        git.check_clean(found, allow_dirty=False)
