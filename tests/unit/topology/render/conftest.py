from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import compose_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    """A compose model with one service of each kind."""
    compose_model.write_files(tmp_path)
    return compose_model.model(tmp_path)
