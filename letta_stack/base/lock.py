"""One writer at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
from typing import TYPE_CHECKING

from letta_stack.base.paths import STATE
from letta_stack.errors import ProjectLocked

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def held(project: str) -> Iterator[None]:
    """Hold the lock of a project; raise ``ProjectLocked`` at once if another process has it."""
    STATE.mkdir(exist_ok=True)
    path = STATE / f"{project}.lock"
    # Never deleted: a process that waits for a deleted file would lock nothing.
    with path.open("a", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProjectLocked(
                f"another command changes {project} right now; wait for its end (it holds {path})"
            ) from None
        yield
