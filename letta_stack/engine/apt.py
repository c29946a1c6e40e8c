"""Debian's package sources: read both formats, and derive the source of a newer suite from the machine's own.

Pure functions; nothing here names a mirror, the machine's administrator has chosen one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>(?:\s+[^\s#]+)*)"
)


@dataclass(frozen=True)
class Source:
    """One place that binary packages come from."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    def render(self) -> str:
        """Write a deb822 stanza."""
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


def parse_list(text: str) -> list[Source]:
    """Read the one-line format of ``*.list`` files."""
    found = []
    for line in text.splitlines():
        match = ONE_LINE.match(line.strip())
        if match is None:
            continue
        options = dict(
            option.split("=", 1) for option in (match["options"] or "").split() if "=" in option
        )
        found.append(
            Source(
                uris=(match["uri"],),
                suites=(match["suite"],),
                components=tuple(match["components"].split()),
                signed_by=options.get("signed-by", ""),
            )
        )
    return found


def parse_deb822(text: str) -> list[Source]:
    """Read the stanzas of ``*.sources`` files; disabled ones and source packages are left out."""
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        found.append(
            Source(
                uris=tuple(fields.get("uris", "").split()),
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
            )
        )
    return found


def derive(sources: Iterable[Source], *, old: str, new: str) -> list[Source]:
    """Return the sources of ``new`` and ``new``-security on the mirrors that serve ``old``, main only."""
    derived: list[Source] = []
    for source in sources:
        suites = tuple(
            suite.replace(old, new) for suite in source.suites if suite in {old, f"{old}-security"}
        )
        if suites and "main" in source.components:
            candidate = replace(source, suites=suites, components=("main",))
            if candidate not in derived:
                derived.append(candidate)
    return derived


def pin(packages: Iterable[str], *, suite: str) -> str:
    """Write preferences that take only ``packages`` from ``suite``, and nothing else ever."""
    return (
        f"Package: *\nPin: release n={suite}*\nPin-Priority: -10\n\n"
        f"Package: {' '.join(packages)}\nPin: release n={suite}*\nPin-Priority: 600\n"
    )
