"""Lines of equal columns, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
STEP = 1024


def render(rows: Sequence[Sequence[str]]) -> str:
    """Pad each column but the last to its widest field."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(field.ljust(width) for field, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def size(count: float) -> str:
    """Write a number of bytes with the unit that suits it."""
    for unit in UNITS[:-1]:
        if count < STEP:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= STEP
    return f"{count:.1f} {UNITS[-1]}"
