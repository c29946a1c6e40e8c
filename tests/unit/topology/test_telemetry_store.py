"""What `inv up` refuses of the telemetry that a volume keeps."""

from __future__ import annotations

from typing import Any

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import OtherClickHouse
from letta_stack.topology import telemetry_store
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State

PROJECT = Project.of("observability", project="mine")
VARIABLES = {"CLICKHOUSE_IMAGE": "clickhouse:1"}
OFFICIAL = "ClickHouse server version {}.2.29 (official build)."
HERE = OFFICIAL.format("25.8")


def keeping(kind: str = "volume", source: str = "clickhouse") -> dict[str, Any]:
    mounts = [{"type": kind, "source": source, "target": telemetry_store.DIRECTORY}]
    return {
        "services": {"letta-clickhouse": {"volumes": mounts}},
        "volumes": {"clickhouse": {"name": "mine_clickhouse"}},
    }


class Engine:
    """An engine whose volume says what wrote it, and whose image says what it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, written: str, program: str = HERE) -> None:
        self.commands: list[list[str]] = []
        self.states: list[State] = []
        self.volumes = ["mine_clickhouse"]
        self.answer = f"{written}\n{program}\n"
        self.image = "clickhouse:1"
        monkeypatch.setattr(process, "probe", self.probe)
        monkeypatch.setattr(Compose, "states", lambda _: self.states)

    def probe(self, command: list[str]) -> Completed:
        if command[:3] == ["docker", "volume", "inspect"]:
            return Completed(0 if command[3] in self.volumes else 1, "", "")
        self.commands.append(command)
        return Completed(0, self.image if command[1] == "inspect" else self.answer, "")


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (OFFICIAL.format("25.9"), "ClickHouse server 25.9"),
        (OFFICIAL.format("26.1"), "ClickHouse server 26.1"),
        (OFFICIAL.format("24.7"), "ClickHouse server 24.7"),
        ("chdb engine version 25.8.0", "chdb engine 25.8"),
    ],
    ids=["newer", "newer by a year's turn", "older than a year", "another engine"],
)
def test_telemetry_of_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, written: str, found: str
) -> None:
    Engine(monkeypatch, written)

    with pytest.raises(OtherClickHouse) as raised:
        telemetry_store.check(PROJECT, keeping(), VARIABLES)

    assert str(raised.value) == (
        f"mine_clickhouse has the telemetry of {found}, and clickhouse:1 is ClickHouse server 25.8, which may not read it: "
        "set CLICKHOUSE_IMAGE in .env to a version at most 12 months newer, or give the telemetry up: `inv down --env "
        "observability --project mine`, then `docker volume rm mine_clickhouse`"
    )


@pytest.mark.parametrize(
    ("written", "program"),
    [
        (HERE, HERE),
        (OFFICIAL.format("24.8"), HERE),
        (OFFICIAL.format("25.12"), OFFICIAL.format("26.1")),
        ("chdb engine version 26.9.0", "chdb engine version 26.9.1"),
        ("", HERE),
        (HERE, ""),
    ],
    ids=["same", "a year", "turn of a year", "patch", "no note", "silent image"],
)
def test_telemetry_that_can_be_read_passes(
    monkeypatch: pytest.MonkeyPatch, written: str, program: str
) -> None:
    engine = Engine(monkeypatch, written, program)

    telemetry_store.check(PROJECT, keeping(), VARIABLES)

    assert "--volume=mine_clickhouse:/data:ro" in engine.commands[0]


def test_a_directory_of_this_machine_is_emptied_not_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Engine(monkeypatch, OFFICIAL.format("26.9"))

    with pytest.raises(OtherClickHouse, match=r"then empty /srv/clickhouse$"):
        telemetry_store.check(PROJECT, keeping("bind", "/srv/clickhouse"), VARIABLES)


def test_nobody_looks_without_a_volume_or_into_a_store_that_runs_with_this_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(monkeypatch, OFFICIAL.format("26.9"))
    telemetry_store.check(PROJECT, {"services": {}}, VARIABLES)
    engine.volumes = []
    telemetry_store.check(PROJECT, keeping(), VARIABLES)
    assert engine.commands == []

    engine.volumes = ["mine_clickhouse"]
    engine.states = [State("letta-clickhouse", "mine-letta-clickhouse-1", "running", "healthy", 0)]
    telemetry_store.check(PROJECT, keeping(), VARIABLES)
    engine.image = "clickhouse:0"
    with pytest.raises(OtherClickHouse):
        telemetry_store.check(PROJECT, keeping(), VARIABLES)
