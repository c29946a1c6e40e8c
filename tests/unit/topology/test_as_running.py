"""Flags of an earlier `inv up` are read from the containers, unless a setting says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.topology import as_running
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State
from tests.support.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVERS = [
    State("letta-server", f"mine-letta-server-{number}", "running", "healthy", 0)
    for number in (1, 2, 3)
]
GATEWAY = State("letta-nginx", "mine-letta-nginx-1", "running", "healthy", 0)
PLAIN = "8080/tcp -> 127.0.0.1:9000\n"
SECURE = "8080/tcp -> 0.0.0.0:9001\n8443/tcp -> 0.0.0.0:9000\n8443/tcp -> [::]:9000\n"


def kept(
    monkeypatch: pytest.MonkeyPatch, ports: str, states: list[State], given: Mapping[str, str]
) -> dict[str, str]:
    FakeEngine({"docker port": ports}).install(monkeypatch)
    monkeypatch.setattr(Compose, "states", lambda _: states)
    for name in ("PORT", "REPLICAS", "BIND"):
        monkeypatch.delenv(f"LETTA_STACK_{name}", raising=False)
    project = Project.of("prod", project="mine").with_variables(given)
    return dict(as_running.keep(project).variables)


@pytest.mark.parametrize(
    ("ports", "given", "expected"),
    [
        (PLAIN, {}, {"LETTA_STACK_PORT": "9000", "LETTA_STACK_REPLICAS": "3"}),
        (
            SECURE,
            {},
            {
                "LETTA_STACK_PORT": "9000",
                "LETTA_STACK_BIND": "0.0.0.0",
                "LETTA_STACK_REPLICAS": "3",
            },
        ),
        (
            PLAIN,
            {"LETTA_STACK_PORT": "9002", "LETTA_STACK_REPLICAS": "1"},
            {"LETTA_STACK_PORT": "9002", "LETTA_STACK_REPLICAS": "1"},
        ),
        ("", {}, {"LETTA_STACK_REPLICAS": "3"}),
    ],
)
def test_what_runs_stays_as_it_is(
    ports: str,
    given: Mapping[str, str],
    expected: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert kept(monkeypatch, ports, [*SERVERS, GATEWAY], given) == expected


def test_without_containers_there_is_nothing_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept(monkeypatch, PLAIN, [], {}) == {}
