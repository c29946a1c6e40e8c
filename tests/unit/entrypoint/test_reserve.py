"""When requests are refused for want of disk, and which; and what is deleted in time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Self

import pytest
from entrypoint import errors, plan, reserve, retention

MIB = reserve.MIB


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, 512), ({reserve.VARIABLE: "2048"}, 2048), ({reserve.VARIABLE: "Off"}, 0)],
)
def test_the_reserve_has_a_default_a_size_and_an_end(given: dict[str, str], expected: int) -> None:
    assert reserve.size(given) == expected * MIB


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, 30 * 86400), ({retention.VARIABLE: "12h"}, 43200), ({retention.VARIABLE: "off"}, 0)],
)
def test_traces_are_kept_for_a_time(given: dict[str, str], expected: int) -> None:
    assert retention.seconds(given) == expected


@pytest.mark.parametrize(
    "given",
    [{reserve.VARIABLE: "half"}, {reserve.VARIABLE: "-1"}, {retention.VARIABLE: "30"}],
)
def test_a_setting_that_means_nothing_ends_the_start(given: dict[str, str]) -> None:
    with pytest.raises(errors.BadSetting, match=next(iter(given))):
        plan.make_plan(given)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/agents/"),
        ("POST", "/v1/agents/agent-1/messages"),
        ("POST", "/v1/agents/agent-1/messages/stream"),
        ("POST", "/v1/conversations/conv-1/messages"),
        ("PATCH", "/v1/agents/agent-1"),
        ("PUT", "/v1/tools/"),
        ("POST", "/v1/agents/search/messages"),
    ],
)
def test_what_stores_something_is_known(method: str, path: str) -> None:
    assert reserve.stores_something(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/agents/"),
        ("DELETE", "/v1/agents/agent-1"),
        ("OPTIONS", "/v1/agents/"),
        ("POST", "/v1/agents/search"),
        ("POST", "/v1/agents/agent-1/messages/cancel"),
        ("POST", "/v1/runs/run-1/stream"),
        ("POST", "/latest/conversations/conv-1/stream"),
        ("PATCH", "/v1/agents/agent-1/reset-messages"),
        ("PATCH", "/v1/agents/agent-1/folders/detach/source-1"),
    ],
)
def test_what_reads_deletes_or_ends_something_is_not_refused(method: str, path: str) -> None:
    assert not reserve.stores_something(method, path)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(reserve, "time", made)
    return made


def disk(answers: list[int | Exception]) -> reserve.Disk:
    async def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return reserve.Disk(512 * MIB, ask)


def test_the_disk_is_looked_at_every_few_seconds_and_room_ends_the_shortage(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[int | Exception] = [300 * MIB, 200 * MIB, 600 * MIB]
    one = disk(answers)

    async def use() -> list[str]:
        seen = [await one.shortage(), await one.shortage()]
        for _ in range(2):
            clock.now += reserve.CHECK_SECONDS
            seen.append(await one.shortage())
        return seen

    first, second, third, fourth = asyncio.run(use())

    assert "has 300 MiB free, and 512 MiB are kept" in first
    assert second == first
    assert "200 MiB" in third
    assert fourth == ""
    said = capsys.readouterr()
    assert (said.out + said.err).count("refused") == 1
    assert "has room again" in said.out + said.err


def test_a_database_that_does_not_tell_is_asked_again_later(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    one = disk([LookupError("no such view\nmore"), 1])

    async def use() -> list[str]:
        seen = [await one.shortage()]
        clock.now += reserve.UNKNOWN_SECONDS - 1
        seen.append(await one.shortage())
        clock.now += 1
        seen.append(await one.shortage())
        return seen

    assert [bool(one) for one in asyncio.run(use())] == [False, False, True]
    said = capsys.readouterr()
    assert "so there is no reserve: no such view\n" in said.out + said.err


def test_without_a_reserve_nobody_looks() -> None:
    async def ask() -> int:
        raise AssertionError

    assert asyncio.run(reserve.Disk(0, ask).shortage()) == ""


class Answer(SimpleNamespace):
    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        await send(vars(self))


def answered(free: int, method: str, path: str, kind: str = "http") -> dict[str, Any]:
    """Return what a guarded application answers."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    guard = reserve.Guard(Answer(status_code=200, content="routes"), disk([free]), "0.16.8", Answer)
    asyncio.run(guard({"type": kind, "method": method, "path": path}, None, send))  # type: ignore[arg-type]
    return sent[0]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/agents/", 507), ("GET", "/v1/health/", 200), ("GET", "/latest/ready/", 503)],
)
def test_a_shortage_is_said_in_every_answer_that_it_changes(
    method: str, path: str, status: int
) -> None:
    answer = answered(0, method, path)

    assert answer["status_code"] == status
    assert "disk-full" in answer["content"].values()
    assert "0 MiB free" in answer["content"]["detail"]
    assert answered(512 * MIB, method, path)["content"] == "routes"


def test_everything_else_passes() -> None:
    assert answered(0, "GET", "/v1/agents/")["content"] == "routes"
    assert answered(0, "", "", kind="lifespan")["content"] == "routes"


def test_rows_are_deleted_in_batches_and_their_room_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts, said = [retention.BATCH, 3], []

    class Connection:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            """Commit."""

        async def get_raw_connection(self) -> Any:
            return SimpleNamespace(driver_connection=self)

        async def execute(self, statement: str, parameters: object = None) -> Any:
            said.append((statement, parameters))
            return SimpleNamespace(rowcount=counts.pop(0) if parameters else 0)

    engine = SimpleNamespace(begin=Connection, connect=Connection)
    modules = {
        "letta.server.db": SimpleNamespace(engine=engine),
        "sqlalchemy": SimpleNamespace(text=str),
    }
    monkeypatch.setattr(retention, "importlib", SimpleNamespace(import_module=modules.get))

    asyncio.run(retention._delete(60))  # noqa: SLF001 - the loop around it has no end

    assert [one for one, _ in said] == [
        retention.DELETE,
        retention.DELETE,
        "VACUUM provider_traces",
    ]
    assert said[0][1] == {"seconds": 60}
