"""Reads ``pins.env``: every version, image reference and checksum of the project, once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from letta_stack.base.paths import PINS_FILE, ROOT
from letta_stack.errors import BadPins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# No quotes, spaces or interpolation, so that compose, the shell, CI and this parser read the same value.
LINE = re.compile(r"(?P<key>[A-Z][A-Z0-9_]*)=(?P<value>[^\s'\"$`\\#]*)")


class Pins(Mapping[str, str]):
    """The pins, in the order of the file. An empty value means "not known yet"."""

    def __init__(self, values: Mapping[str, str], source: Path) -> None:
        """Keep a copy; ``source`` is named in error messages."""
        self._values = dict(values)
        self.source = source

    @classmethod
    def load(cls, path: Path | None = None) -> Pins:
        """Read and check a file; the checkout's own if none is given."""
        path = path or ROOT / PINS_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            message = f"cannot read {path} ({error}); run this inside the letta-stack checkout"
            raise BadPins(message) from error
        return cls(parse(text, path), path)

    def __getitem__(self, key: str) -> str:
        """Return the value, or say which file lacks the key."""
        try:
            return self._values[key]
        except KeyError:
            message = f"{self.source} has no {key}; add a line `{key}=...`"
            raise BadPins(message) from None

    def __contains__(self, key: object) -> bool:
        """Say whether the file has the key; ``Mapping``'s own version expects a ``KeyError``."""
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self._values)

    def __len__(self) -> int:
        """Count the pins."""
        return len(self._values)


def parse(text: str, source: Path) -> dict[str, str]:
    """Parse the dotenv text of ``source``; ``BadPins`` names the file and the line."""
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if match is None:
            message = f"{source}:{number}: not `KEY=value` without quotes, spaces or $: {line!r}; correct the line"
            raise BadPins(message)
        key = match["key"]
        if key in values:
            message = f"{source}:{number}: {key} is set a second time; keep one of the lines"
            raise BadPins(message)
        values[key] = match["value"]
    return values
