from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from unittest import mock

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """Be on a machine whose clock does not show UTC."""
    with mock.patch.dict(os.environ, TZ="Asia/Tokyo"):
        time.tzset()
        yield
    time.tzset()
