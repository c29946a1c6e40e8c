"""Lines of the start code: plain text with one prefix, beside the server's JSON lines."""

from __future__ import annotations

import sys


def log(message: str) -> None:
    """Write one line to the container's log."""
    sys.stderr.write(f"letta-stack: {message}\n")
    sys.stderr.flush()
