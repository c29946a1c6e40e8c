"""Metrics of containers from the files of both versions of control groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.queue_files import small, state

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

ID = "ab" * 32
OTHER = "cd" * 32


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text + "\n")


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    write(tmp_path, cgroup__controllers="cpu memory pids")
    write(
        tmp_path / f"system.slice/docker-{ID}.scope",
        cpu__stat="usage_usec 1500000\nuser_usec 1",
        memory__current="1000",
        memory__stat="anon 1\ninactive_file 200",
        memory__max="4000",
        memory__events="oom 1\noom_kill 2",
        pids__current="7",
    )
    return tmp_path


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    write(
        tmp_path / f"memory/docker/{ID}",
        memory__usage_in_bytes="1000",
        memory__stat="total_inactive_file 200",
        memory__limit_in_bytes="4000",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2",
    )
    write(tmp_path / f"cpuacct/docker/{ID}", cpuacct__usage="1500000000")
    write(tmp_path / f"pids/docker/{ID}", pids__current="7")
    return tmp_path


EXPECTED = [
    'container_cpu_seconds_total{service="letta-db",number="1"} 1.5',
    'container_memory_bytes{service="letta-db",number="1"} 800.0',
    'container_memory_limit_bytes{service="letta-db",number="1"} 4000.0',
    'container_oom_kills_total{service="letta-db",number="1"} 2.0',
    'container_processes{service="letta-db",number="1"} 7.0',
]


@pytest.mark.parametrize("version", ["version_1", "version_2"])
def test_both_versions_say_the_same(
    version: str,
    exporter: ModuleType,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root: Path = request.getfixturevalue(version)
    monkeypatch.setattr(exporter, "named", lambda _: ("letta-db", "1"))

    lines = exporter.exposition(root, root).splitlines()

    assert [line for line in lines if line in EXPECTED] == EXPECTED
    assert any(line.startswith("container_start_time_seconds{") for line in lines)


def test_a_container_of_somebody_else_is_left_out(
    version_2: Path, exporter: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "named", lambda _: None)

    assert "{" not in exporter.exposition(version_2, version_2)


def test_a_container_that_goes_while_it_is_read_is_left_out(
    version_2: Path, exporter: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (version_2 / f"system.slice/docker-{ID}.scope/memory.current").unlink()
    monkeypatch.setattr(exporter, "named", lambda _: ("letta-db", "1"))

    assert "{" not in exporter.exposition(version_2, version_2)


def test_no_limit_is_no_number(version_2: Path, exporter: ModuleType) -> None:
    directory = version_2 / f"system.slice/docker-{ID}.scope"
    (directory / "memory.max").write_text("max\n")

    assert "container_memory_limit_bytes" not in exporter.values(version_2, directory)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("mine-letta-node-exporter-1.mine_monitoring", ("letta-node-exporter", "1")),
        ("letta-stack-prod-letta-server-12.letta-stack-prod_edge", ("letta-server", "12")),
        ("other-web-1.other_default", None),
    ],
)
def test_the_resolver_knows_who_a_container_is(
    answer: str,
    expected: tuple[str, str] | None,
    exporter: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses = {ID[:12]: "10.0.0.2"}
    monkeypatch.setattr(exporter.socket, "gethostbyname", addresses.__getitem__)
    monkeypatch.setattr(exporter.socket, "gethostbyaddr", lambda _: (answer, [], []))

    assert exporter.named(ID) == expected


def test_an_id_that_the_resolver_does_not_know_is_not_ours(
    exporter: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str) -> str:
        raise OSError(name)

    monkeypatch.setattr(exporter.socket, "gethostbyname", unknown)

    assert exporter.named(OTHER) is None


def test_the_queues_of_the_collector_are_told_apart(tmp_path: Path, exporter: ModuleType) -> None:
    (tmp_path / "exporter_clickhouse__traces").write_bytes(small(state(30, 41)))
    (tmp_path / "exporter_otlp_waiting_logs").write_bytes(small(state(1, 2)))

    lines = list(exporter.lengths(tmp_path, {"LETTA_STACK_TELEMETRY_QUEUE": "10"}))

    assert 'letta_telemetry_queue_requests{exporter="clickhouse",signal="traces"} 11' in lines
    assert 'letta_telemetry_queue_requests{exporter="otlp_waiting",signal="logs"} 1' in lines
    assert lines[-1] == "letta_telemetry_queue_limit 10"
    assert list(exporter.lengths(tmp_path, {"LETTA_STACK_TELEMETRY_NUMBERS": "seed"}))[-1].endswith(
        " 500"
    )
