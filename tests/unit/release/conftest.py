"""A registry in memory, and builds of a few bytes."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import requests

from letta_stack.registry import credentials
from letta_stack.release import build
from letta_stack.release.publisher import Publisher
from tests.support.layouts import layer, write_layout
from tests.support.memory_registry import MemoryRegistry
from tests.support.releases import LABELS, PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Built = Callable[..., Callable[[Path], None]]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> MemoryRegistry:
    one = MemoryRegistry()
    monkeypatch.setattr(credentials, "find", lambda _: None)
    monkeypatch.setattr(requests.Session, "request", one.request)
    return one


@pytest.fixture
def built(tmp_path: Path) -> Built:
    """Return what makes a build: a function that writes an image for both platforms, or for those given."""

    def make(
        payload: bytes = b"one",
        platforms: tuple[str, ...] = PLATFORMS,
        labels: Mapping[str, str] = LABELS,
    ) -> Callable[[Path], None]:
        layers = {name: [layer({name: payload})] for name in platforms}
        path = write_layout(tmp_path / f"{payload.decode()}.tar", layers, labels=labels)
        return lambda destination: _copy(path, destination)

    return make


def _copy(source: Path, destination: Path) -> None:
    shutil.copyfile(source, destination)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Publisher, dict[str, Any]]]:
    """Return what the publisher is asked for; nothing is built or sent."""
    calls: list[tuple[str, Publisher, dict[str, Any]]] = []

    def note(name: str) -> Any:
        def act(self: Publisher, *arguments: Any, **options: Any) -> str:
            calls.append((name, self, {**options, "arguments": arguments}))
            return f"sha256:{'a' * 64}"

        return act

    for name in ("push", "upload", "promote", "preview"):
        monkeypatch.setattr(Publisher, name, note(name))
    monkeypatch.setattr(build, "check_machine", lambda _: None)
    return calls
