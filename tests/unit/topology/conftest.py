from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tests.support import rotated, up_steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """Be on a machine whose clock does not show UTC."""
    with mock.patch.dict(os.environ, TZ="Asia/Tokyo"):
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> up_steps.Steps:
    """Replace everything that `up` calls."""
    return up_steps.replaced(monkeypatch)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> rotated.Engine:
    """Replace the engine by one whose secrets can be rotated."""
    return rotated.replaced(tmp_path, monkeypatch)
