"""Keeps the settings of whoever runs the tests out of them: their shell's variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from letta_stack.base.paths import ROOT

if TYPE_CHECKING:
    import pytest

SETTING = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b")
CA = {"LETTA_STACK_CA", "SSL_CERT_FILE"}


def names() -> set[str]:
    """Return the variables that the compose files and `.env.example` know, and those for a CA."""
    files = [ROOT / ".env.example", *ROOT.glob("*compose.yaml"), *ROOT.glob("compose/**/*.yaml")]
    return CA.union(*(SETTING.findall(file.read_text(encoding="utf-8")) for file in files))


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset them for one test."""
    for name in names():
        monkeypatch.delenv(name, raising=False)
