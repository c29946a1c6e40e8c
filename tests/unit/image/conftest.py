from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.engine import inspect
from letta_stack.image import server, third_party

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


from letta_stack.image import hub


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in server.LETTA_CONTEXT:
        (tmp_path / name).write_text("")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "letta"\nversion = "0.16.8"\n')
    return tmp_path


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Nothing on the engine, no registry, no git; what would run is kept instead."""
    ran: list[Sequence[str]] = []
    monkeypatch.setattr(process, "probe", lambda *_, **__: Completed(1, "", ""))
    monkeypatch.setattr(process, "run", ran.append)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(inspect, "require", lambda: None)
    return ran


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what is asked and said once per run: each test is a run."""
    hub.unavailable.cache_clear()
    third_party._say.cache_clear()  # noqa: SLF001 - once per run, and each test is a run
