"""Unit tests start no process: what needs one is not a unit test, or asks for ``real_processes`` by name."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import lock
from letta_stack.topology import members
from tests.support import settings

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.fixture(autouse=True)
def no_locks_in_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lock, "STATE", tmp_path / ".state")


@pytest.fixture(autouse=True)
def no_databases_of_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(members, "STATE", tmp_path / ".state")
