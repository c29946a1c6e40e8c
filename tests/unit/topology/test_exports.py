"""Where a program on this machine finds the database and Redis of a running project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.errors import BadValue, NotRunning
from letta_stack.topology import exports
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVICES = Project.of("services", project="mine")


def container(port: int, host: str, published: str, *environment: str) -> dict[str, Any]:
    ports = {f"{port}/tcp": [{"HostIp": host, "HostPort": published}, {"HostIp": "::1"}]}
    return {"Config": {"Env": list(environment)}, "NetworkSettings": {"Ports": ports}}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Containers by name; what the test puts there is what the engine answers."""
    containers = {
        "mine-db": container(
            5432,
            "0.0.0.0",
            "5433",
            "POSTGRES_USER=me",
            "POSTGRES_PASSWORD=p/@=1",
            "POSTGRES_DB=letta",
        ),
        "mine-redis": container(6379, "192.0.2.7", "6380"),
    }

    def capture(argv: Sequence[str]) -> str:
        assert argv[:-1] == ["docker", "container", "inspect"]
        return json.dumps([containers[argv[-1]]])

    monkeypatch.setattr(process, "capture", capture)
    run(monkeypatch, "letta-db", "letta-redis")
    return containers


def run(monkeypatch: pytest.MonkeyPatch, *services: str, health: str = "healthy") -> None:
    names = {"letta-db": "mine-db", "letta-redis": "mine-redis"}
    states = [State(service, names[service], "running", health, 0) for service in services]
    monkeypatch.setattr(Compose, "states", lambda _: states)


def test_the_variables_of_letta_name_the_published_ports_and_quote_the_password(
    engine: dict[str, dict[str, Any]],
) -> None:
    assert exports.variables(SERVICES) == {
        "LETTA_PG_URI": "postgresql://me:p%2F%40%3D1@127.0.0.1:5433/letta",
        "LETTA_REDIS_HOST": "192.0.2.7",
        "LETTA_REDIS_PORT": "6380",
    }


def test_the_lines_are_for_a_shell(engine: dict[str, dict[str, Any]]) -> None:
    engine["mine-redis"] = container(6379, "", "6 380")

    assert exports.lines(SERVICES).splitlines() == [
        "export LETTA_PG_URI=postgresql://me:p%2F%40%3D1@127.0.0.1:5433/letta",
        "export LETTA_REDIS_HOST=127.0.0.1",
        "export LETTA_REDIS_PORT='6 380'",
    ]


@pytest.mark.parametrize(
    ("host", "address"),
    [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("10.0.0.1", "10.0.0.1")],
)
def test_every_address_is_reached_by_loopback(host: str, address: str) -> None:
    assert exports.address(container(1, host, "2"), 1) == (address, "2")


@pytest.mark.parametrize(
    ("services", "missing"), [((), "letta-db"), (("letta-db",), "letta-redis")]
)
def test_a_service_that_does_not_run_is_named(
    services: tuple[str, ...],
    missing: str,
    engine: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(monkeypatch, *services)

    with pytest.raises(NotRunning, match=f"{missing} of mine is not up.*--env services"):
        exports.variables(SERVICES)


def test_a_service_that_is_not_healthy_does_not_count(
    engine: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "letta-db", "letta-redis", health="starting")

    with pytest.raises(NotRunning):
        exports.variables(SERVICES)


def test_a_topology_that_publishes_no_database_is_refused() -> None:
    with pytest.raises(BadValue, match="dev publishes no database and no Redis"):
        exports.variables(Project.of("dev"))
