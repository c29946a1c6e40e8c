"""Where lines go: what a person follows to standard error, what a script keeps to standard output."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Tell a person how it goes."""
    print(line, file=sys.stderr, flush=True)


def rewrite(line: str) -> None:
    """Put ``line`` in the place of the terminal's last one, without ending it; "" clears it."""
    print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)


def result(line: str) -> None:
    """Print what the command was called for, alone on standard output."""
    print(line, flush=True)
