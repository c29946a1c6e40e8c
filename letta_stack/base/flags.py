"""Turns the text of a task's flag into a value, or says what the flag accepts.

Invoke would answer a bad number with a traceback, so flags are text until here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from letta_stack.errors import BadValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATUS_CODES = range(100, 600)


def seconds(flag: str, text: str) -> float:
    """Read a duration above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise BadValue(f"{flag} {text!r} is not a number of seconds above 0; give one such as 60")
    return value


def status_code(flag: str, text: str) -> int:
    """Read an HTTP status."""
    if not text.isascii() or not text.isdigit() or int(text) not in STATUS_CODES:
        raise BadValue(f"{flag} {text!r} is not an HTTP status; give a number from 100 to 599")
    return int(text)


def count(flag: str, text: str) -> int:
    """Read a number of things, zero included."""
    if not text.isascii() or not text.isdigit():
        raise BadValue(f"{flag} {text!r} is not a whole number; give one such as 2")
    return int(text)


def choice(flag: str, text: str, allowed: Sequence[str]) -> str:
    """Accept one of a few words."""
    if text not in allowed:
        raise BadValue(f"{flag} {text!r} is not known; use one of: {', '.join(allowed)}")
    return text


def only_with(flag: str, given: bool, others: Mapping[str, object]) -> None:  # noqa: FBT001 - the value of a flag
    """Raise ``BadValue`` if one of ``others`` (flag -> what the user gave) stands without ``flag``."""
    alone = [name for name, value in others.items() if value]
    if alone and not given:
        raise BadValue(
            f"{', '.join(alone)} means nothing without {flag}; add it, or leave that out"
        )


def command(argv: Sequence[str]) -> list[str]:
    """Return what stands after the first `--`. Invoke joins it with spaces, which loses the quoting."""
    return list(argv[list(argv).index("--") + 1 :]) if "--" in argv else []
