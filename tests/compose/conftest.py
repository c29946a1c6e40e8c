"""Renders every topology with the real compose; no daemon is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.topology.catalogue import TOPOLOGIES
from letta_stack.topology.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.topology.model import Topology

Rendered = dict[str, Any]


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OPENAI_API_KEY",
        "LETTA_STACK_PORT",
        "LETTA_STACK_BIND",
        "LETTA_PG_URI",
        "LETTA_STACK_IMAGE",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def render() -> Callable[..., Rendered]:
    def render(env: str, **variables: str) -> Rendered:
        return Project.of(env).with_variables(variables).runner.config()

    return render


SERVED = {name: one for name, one in TOPOLOGIES.items() if one.has_server}


@pytest.fixture(params=SERVED.values(), ids=list(SERVED))
def served(request: pytest.FixtureRequest) -> Topology:
    """A topology with a server."""
    found: Topology = request.param
    return found


@pytest.fixture(params=TOPOLOGIES.values(), ids=list(TOPOLOGIES))
def topology(request: pytest.FixtureRequest) -> Topology:
    found: Topology = request.param
    return found
