"""The debugger of `hot`: debugpy in the worker, from a mount, so that no other image carries it."""

from __future__ import annotations

import importlib
import os
import sys

from . import paths
from .environment import flag
from .log import log

PORT = 5678  # inside the container; debugpy's usual one
_ADDRESS = "0.0.0.0"  # noqa: S104 - of the container; compose publishes it on loopback only


def listen() -> None:
    """Let a debugger attach to this process, if LETTA_STACK_DEBUG says so.

    The socket is this process's own: a worker that is replaced frees the port for the next one. Processes that it starts
    are left alone: tools run in them, without the mount.
    """
    if not flag(os.environ, "LETTA_STACK_DEBUG", default=False):
        return
    # pydevd finds fault with modules that Python has frozen, which nobody debugs here.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    sys.path.append(str(paths.DEBUGGER))
    debugpy = importlib.import_module("debugpy")
    debugpy.listen((_ADDRESS, PORT), in_process_debug_adapter=True)
    log(f"a debugger may attach at port {PORT}")
