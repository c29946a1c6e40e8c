"""What the server's process does for its secrets before it has any."""

from __future__ import annotations

import ctypes
import json
import os
import sys

_PR_SET_DUMPABLE = 4


def forbid_inspection() -> None:
    """Keep processes of the same user, which agents' tools are, from the memory and /proc entries of this one.

    Raises OSError.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def take_environment() -> None:
    """Read the environment from standard input: one JSON object, in a file that only root can open.

    The environment that a process was started with stays visible in /proc, this one does not.
    """
    os.environ.update(json.load(sys.stdin))
    # Only to find this package; tools would inherit it.
    os.environ.pop("PYTHONPATH", None)
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.dup2(descriptor, sys.stdin.fileno())
    os.close(descriptor)
