"""What is said about containers that the engine started again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from letta_stack.operate.doctor import ends
from letta_stack.operate.doctor.model import OK, SKIP, WARN, Subject
from letta_stack.topology.project import Project
from letta_stack.topology.runners.protocol import State
from tests.support.fake_engine import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
WORDS = "the container reached its memory limit of 367 MiB"
LAST_WORDS = f"a traceback\nletta-stack: killed, because {WORDS}; raise it\n"


def subject(tmp_path: Path, *names: str) -> Subject:
    states = [State("letta-server", name, "running", "healthy", 0) for name in names]
    return Subject(Project.of("prod", project="mine"), tmp_path, states)


@pytest.mark.parametrize(
    ("inspected", "state", "seen"),
    [
        ("/one 0 0001-01-01T00:00:00Z", OK, "no container"),
        ("/one 3 2026-01-01T11:00:00.123456789Z", OK, "no container"),
        ("/one 3 2026-01-02T11:00:00.123456789Z", WARN, "one ended at 11:00 UTC"),
    ],
)
def test_a_container_that_came_back_within_a_day_is_named(
    inspected: str, state: str, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeEngine({"container inspect": inspected + "\n"}).install(monkeypatch)

    found = ends.restarts(subject(tmp_path, "one"), NOW)

    assert found.state == state
    assert seen in found.seen


def test_memory_is_named_as_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspected = "/one 1 2026-01-02T11:00:00.1Z\n/two 0 0001-01-01T00:00:00Z\n"
    engine = FakeEngine({"container inspect": inspected, "docker logs": LAST_WORDS})
    engine.install(monkeypatch)

    found = ends.restarts(subject(tmp_path, "one", "two"), NOW)

    assert WORDS in found.seen
    assert "two" not in found.seen
    assert "ContainerKilledForMemory" in found.fix
    assert any("--since=2026-01-02T10:59:50" in line for line in engine.said)


def test_without_containers_there_is_nothing_to_see(tmp_path: Path) -> None:
    assert ends.restarts(subject(tmp_path), NOW).state == SKIP
