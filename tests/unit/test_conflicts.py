"""Nothing of a merge is left in a file: in a comment no linter sees it."""

from __future__ import annotations

import subprocess

import pytest

from letta_stack.base.paths import ROOT

BEGINS_OR_ENDS = r"^(<{7}|>{7}) "
NOTHING_FOUND = 1


@pytest.mark.usefixtures("real_processes")
def test_no_file_has_both_sides_of_a_conflict() -> None:
    search = subprocess.run(
        ["git", "grep", "--line-number", "--extended-regexp", BEGINS_OR_ENDS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert search.stdout == ""
    assert search.returncode == NOTHING_FOUND
