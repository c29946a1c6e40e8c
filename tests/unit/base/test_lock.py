from __future__ import annotations

import pytest

from letta_stack.base import lock
from letta_stack.errors import ProjectLocked


def test_one_project_has_one_writer_and_others_have_theirs() -> None:
    with lock.held("mine"):
        with (
            pytest.raises(ProjectLocked, match="another command changes mine right now"),
            lock.held("mine"),
        ):
            pass
        with lock.held("other"):
            pass


def test_a_lock_ends_with_an_error() -> None:
    with pytest.raises(ZeroDivisionError), lock.held("mine"):
        raise ZeroDivisionError

    with lock.held("mine"):
        pass
