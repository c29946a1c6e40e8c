from __future__ import annotations

import pytest

from letta_stack.image import hub, third_party


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what is asked and said once per run: each test is a run."""
    hub.unavailable.cache_clear()
    third_party._say.cache_clear()  # noqa: SLF001 - once per run, and each test is a run
