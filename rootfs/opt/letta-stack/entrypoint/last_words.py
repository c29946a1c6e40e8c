"""The parent of a server that is a container by itself: it passes signals on, and says so when memory ended the server.

A process that the kernel kills for want of memory says nothing, and the next start finds nothing: the container's control
group and its files in memory are new ones.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

WHY = Path("/etc/letta-stack/why-killed")
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
_SIGNALLED = 128
"""And the signal's number: the exit code of a shell whose program a signal ended."""


def stay_behind() -> None:
    """Go on in a child; this process ends when the child does, with its exit code."""
    # A signal must find either no child or one that gets it.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    child = os.fork()
    if child:
        for one in FORWARDED:
            signal.signal(one, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    if child:
        os._exit(_follow(child))


def _follow(child: int) -> int:
    """Return the exit code of a child. As a container's first process this one also inherits what tools leave behind."""
    ended, status = os.wait()
    while ended != child:
        ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        subprocess.run([WHY], check=False)
    return code if code >= 0 else _SIGNALLED - code
