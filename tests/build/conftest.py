"""Builds with a real engine. Slow where an image has to be made first; that has no sensible limit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from letta_stack.base.paths import ROOT
from letta_stack.image import sources

if TYPE_CHECKING:
    from pathlib import Path

TEST_SECONDS = 120


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "build"):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True), append=False)


@pytest.fixture(scope="session")
def ca() -> Path | None:
    """The CA that this machine's builds need, None with a normal network."""
    return sources.find_ca("", os.environ)
