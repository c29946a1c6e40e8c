from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.base import lock
from letta_stack.errors import ProjectLocked

if TYPE_CHECKING:
    from pathlib import Path


def test_one_project_has_one_writer_and_others_have_theirs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with lock.held("mine", directory=state):
        with (
            pytest.raises(ProjectLocked, match="another command changes mine right now"),
            lock.held("mine", directory=state),
        ):
            pass
        with lock.held("other", directory=state):
            pass


def test_a_lock_ends_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock.held("mine", directory=tmp_path):
        raise ZeroDivisionError

    with lock.held("mine", directory=tmp_path):
        pass
