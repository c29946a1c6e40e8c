"""Renders every topology with the real compose; no daemon is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.topology.catalogue import TOPOLOGIES
from letta_stack.topology.project import Project
from letta_stack.topology.runners import compose
from tests.support import settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from letta_stack.topology.model import Topology

Rendered = dict[str, Any]


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings.forget(monkeypatch)
    # An empty one, not none: compose would look for .env beside the entry point.
    empty = tmp_path / ".env"
    empty.touch()
    monkeypatch.setattr(compose, "DOTENV", empty)


@pytest.fixture
def render() -> Callable[..., Rendered]:
    def render(env: str, **variables: str) -> Rendered:
        return Project.of(env).with_variables(variables).runner.config()

    return render


@pytest.fixture(params=TOPOLOGIES.values(), ids=list(TOPOLOGIES))
def topology(request: pytest.FixtureRequest) -> Topology:
    found: Topology = request.param
    return found
