"""What the checks make of what they see, and what a killed command left."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import http_wait, process
from letta_stack.operate import archive, postgres, store
from letta_stack.operate.archive import Range
from letta_stack.operate.doctor import data, host, inside, run
from letta_stack.operate.doctor.model import FAIL, OK, WARN, Finding, Subject, fail, ok
from letta_stack.topology.archive import ON, VARIABLE
from letta_stack.topology.project import Project
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from pathlib import Path
    from urllib.parse import SplitResult

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
HEALTHY: dict[str, Any] = {
    "revision": "b",
    "vector": "0.8.0",
    "skew": 0.1,
    "connections": 5,
    "max_connections": 100,
    "databases": ["letta", "postgres"],
    "providers": [{"name": "openai", "type": "openai", "category": "base", "url": "https://a/v1"}],
    "lost": [],
}
VLLM = {"providers": [{"name": "vllm", "type": "vllm", "category": "base", "url": "http://b/v1"}]}
ANSWER: dict[str, Any] = {
    "head": "b",
    "collector": True,
    "statuses": {"openai": "200"},
    "names": {"a": True},
    "environment": {"OPENAI_BASE_URL": ""},
}


def subject(tmp_path: Path, states: list[State] | None = None) -> Subject:
    return Subject(Project.of("dev", project="mine"), tmp_path / "backups", states or [])


def state_of(name: str, **changes: Any) -> State:
    return replace(State(name, f"mine-{name}-1", "running", "healthy", 0), **changes)


ALL = [state_of(name) for name in Project.of("dev").topology.names]


def test_every_service_has_to_be_there_and_to_work(tmp_path: Path) -> None:
    assert host.services(subject(tmp_path, ALL)).state == OK
    for states, seen in (
        ([], "none"),
        (ALL[1:], f"{ALL[0].service} missing"),
        ([state_of("letta-db", state="exited", exit_code=137), *ALL], "exited with code 137"),
    ):
        found = host.services(subject(tmp_path, states))
        assert found.state == FAIL
        assert seen in found.seen


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        ("8080/tcp -> 127.0.0.1:9000\n", "http://127.0.0.1:9000/health"),
        ("8080/tcp -> 0.0.0.0:9000\n8080/tcp -> [::]:9000\n", "http://[::1]:9000/health"),
        (
            "8080/tcp -> 127.0.0.1:8280\n8443/tcp -> 0.0.0.0:8283\n",
            "https://127.0.0.1:8283/health",
        ),
    ],
)
def test_the_api_is_asked_where_it_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, asked: str
) -> None:
    seen: list[str] = []

    def ask(parts: SplitResult, **_: object) -> int:
        seen.append(parts.geturl())
        return 200

    monkeypatch.setattr(process, "probe", lambda _: process.Completed(0, lines, ""))
    monkeypatch.setattr(http_wait, "ask", ask)

    assert host.port(subject(tmp_path, ALL)).state == OK
    assert seen == [asked]


@pytest.mark.parametrize(
    ("facts", "answer", "name", "state"),
    [
        ({}, {}, "migrations", OK),
        ({"revision": "a"}, {}, "migrations", FAIL),
        ({"vector": None}, {}, "vector", FAIL),
        ({"connections": 90}, {}, "connections", WARN),
        ({"skew": 30.0}, {}, "clocks", WARN),
        ({"lost": ["openai/gone"]}, {}, "models", WARN),
        ({"databases": ["letta", "letta_restore_x"]}, {}, "restores", WARN),
        ({}, {"names": {"a": False}}, "DNS", FAIL),
        ({}, {"collector": False}, "collector", "skip"),
        ({}, {}, "provider openai", OK),
        ({}, {"statuses": {"openai": "401"}}, "provider openai", FAIL),
        ({}, {"statuses": {"openai": "timed out"}}, "provider openai", FAIL),
        ({}, {"environment": {"OPENAI_BASE_URL": "https://b/v1"}}, "provider openai", FAIL),
        ({}, {"environment": {"OPENAI_BASE_URL": "https://a/v1/"}}, "provider openai", OK),
        (
            VLLM,
            {"environment": {"VLLM_API_BASE": "http://b"}, "statuses": {"vllm": "200"}},
            "provider vllm",
            OK,
        ),
        (VLLM, {"environment": {"VLLM_API_BASE": "http://c"}}, "provider vllm", FAIL),
    ],
)
def test_what_is_seen_from_inside_becomes_a_finding(
    tmp_path: Path, facts: dict[str, Any], answer: dict[str, Any], name: str, state: str
) -> None:
    facts, answer = HEALTHY | facts, ANSWER | answer
    found = [
        inside.migrations(facts, answer),
        inside.vector(facts),
        inside.connections(facts),
        inside.clock(facts),
        inside.leftovers(facts, subject(tmp_path).project.name),
        inside.collector(answer, subject(tmp_path)),
        inside.names(answer),
        *inside.providers(facts, answer),
        inside.models(facts),
    ]

    (one,) = [each for each in found if each.name == name]
    assert one.state == state
    assert bool(one.fix) == (state in {FAIL, WARN})


def test_a_collector_of_its_own_has_to_run(tmp_path: Path) -> None:
    prod = replace(subject(tmp_path), project=Project.of("prod", project="mine"))

    assert inside.collector(ANSWER, prod).state == FAIL
    prod = replace(prod, states=[state_of("letta-collector")])
    assert inside.collector(ANSWER, prod).state == OK


def test_a_low_memory_is_a_warning(tmp_path: Path) -> None:
    table = tmp_path / "meminfo"
    table.write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 50 kB\n")

    assert host.memory(subject(tmp_path), table).state == WARN
    table.write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 500 kB\n")
    assert host.memory(subject(tmp_path), table).state == OK


def test_backups_have_to_be_there_young_and_verified(tmp_path: Path) -> None:
    one = subject(tmp_path)
    assert data.backups(one).seen.startswith("none in")


@pytest.mark.parametrize(
    ("said", "since", "found"),
    [
        (["4", "1", "3"], NOON, (OK, "any moment since 2026-11-27 12:00:00 UTC")),
        (["3", "1", "4"], NOON, (FAIL, "4 cannot be archived")),
        (["", "", ""], None, (WARN, "the first base backup is not done")),
    ],
)
def test_an_archive_has_to_come_along(
    said: list[str],
    since: datetime | None,
    found: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = subject(tmp_path)
    assert data.archive(one) == []
    on = replace(one, project=Project.of("prod").with_variables({VARIABLE: ON}))
    monkeypatch.setattr(archive, "known", lambda _: Range(since, None) if since else None)
    monkeypatch.setattr(archive, "state", lambda _: said)
    monkeypatch.setattr(postgres, "of", lambda _: None)

    assert [(one.state, one.seen) for one in data.archive(on)] == [found]


def test_what_a_killed_backup_left_is_removed_on_request(tmp_path: Path) -> None:
    one = subject(tmp_path)
    left = one.backups / f"{store.PARTIAL}20260101T000000Z"
    left.mkdir(parents=True)
    (left / "database.dump").write_bytes(b"half")

    found = data.interrupted(one)
    assert found.state == WARN
    assert left.exists()
    run.repair([found])
    assert not left.exists()
    assert data.interrupted(one).state == OK


@pytest.mark.parametrize(
    ("sizes", "days"),
    [
        ([(0.0, 100)], None),
        ([(0.0, 100), (60.0, 200)], None),
        ([(0.0, 100), (86400.0, 100)], None),
        ([(0.0, 100), (43200.0, 150), (86400.0, 200)], 5.0),
    ],
)
def test_growth_is_forecast_from_looks_that_are_far_enough_apart(
    sizes: list[tuple[float, int]], days: float | None
) -> None:
    assert data.forecast(sizes, 500) == days


def test_sizes_are_remembered_and_a_broken_file_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sizes.json"

    assert [size for _, size in data.remember(path, 1)] == [1]
    assert [size for _, size in data.remember(path, 2)] == [1, 2]
    path.write_text("[[")
    assert [size for _, size in data.remember(path, 3)] == [3]


def test_a_check_that_cannot_look_is_a_failure_of_its_own(tmp_path: Path) -> None:
    def broken(_: Subject) -> Finding:
        raise OSError("no such thing")

    (found,) = run.answer(broken, subject(tmp_path))
    assert found.state == FAIL
    assert "no such thing" in found.seen


def test_findings_are_shown_with_what_to_do() -> None:
    found = [fail("disk", "full", "free some"), ok("engine", "26")]

    assert run.as_text(found).splitlines() == [
        "fail  disk    full",
        "              -> free some",
        "ok    engine  26",
    ]
    assert json.loads(run.as_json(found))[0] == {
        "name": "disk",
        "state": "fail",
        "seen": "full",
        "fix": "free some",
    }


def test_the_age_of_a_backup_is_that_of_its_name(tmp_path: Path) -> None:
    assert store.Backup(tmp_path / "20260102T030405Z", None).created == datetime(
        2026, 1, 2, 3, 4, 5, tzinfo=UTC
    )
