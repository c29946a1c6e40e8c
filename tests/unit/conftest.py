"""Unit tests start no process: what needs one is not a unit test, or asks for ``real_processes`` by name."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.support import settings


class BlockedPopen(subprocess.Popen[Any]):
    def __init__(self, args: Any, *_: Any, **__: Any) -> None:
        pytest.fail(f"a unit test tried to start {args!r}")


@pytest.fixture(autouse=True)
def blocked_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_processes" not in request.fixturenames:
        monkeypatch.setattr(subprocess, "Popen", BlockedPopen)


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.forget(monkeypatch)


@pytest.fixture
def real_processes() -> None:
    """Let this test start processes (never docker's)."""
