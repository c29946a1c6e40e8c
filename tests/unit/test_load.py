"""What is read from Locust's counts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from bench.load import locusts, usage
from bench.load.locusts import Row
from letta_stack.base import process
from letta_stack.operate.faults.client import Client
from tests.support.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

CALLS = {
    "name": "agents.list",
    "num_requests": 10,
    "num_failures": 1,
    "start_time": 100.0,
    "last_request_timestamp": 105.0,
    "response_times": {"12": 8, "95": 1, "300": 1},
}
FIRST_WORD = {**CALLS, "name": "first word", "response_times": {"5": 10}}
STACK = SimpleNamespace(client=Client("http://localhost:1", "secret"))


def test_a_row_has_rate_and_percentiles() -> None:
    assert locusts.rows([CALLS], 5.0)["agents.list"] == Row(10, 1, 2.0, 12.0, 300.0, 300.0)


def test_the_row_for_all_counts_each_request_once() -> None:
    rows = locusts.rows([CALLS, {**CALLS, "name": "blocks.list"}, FIRST_WORD], 5.0)

    assert rows["all"].requests == 20
    assert rows["all"].p50 == 12.0
    assert rows["first word"].p50 == 5.0


def test_nothing_measured_is_zero() -> None:
    assert locusts.percentile([], 0.95) == 0


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 51.0), (0.95, 96.0), (0.99, 100.0), (1.0, 100.0)]
)
def test_a_percentile_is_a_time_that_was_measured(share: float, expected: float) -> None:
    assert locusts.percentile([float(one) for one in range(1, 101)], share) == expected


def locust_at_work(monkeypatch: pytest.MonkeyPatch, marks: Sequence[str]) -> FakeEngine:
    """Let a Locust that ends at once leave these marks."""
    engine = FakeEngine({"locust": json.dumps([CALLS])}).install(monkeypatch)
    answer = process.probe

    def probe(command: list[str], **options: Any) -> process.Completed:
        for mark in marks:
            Path(options["env"]["LOAD_MARKS"], mark).touch()
        return answer(command, **options)

    monkeypatch.setattr(process, "probe", probe)
    return engine


def test_locust_is_told_whom_to_ask_and_the_password_is_in_no_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = locust_at_work(monkeypatch, ["began", "ended"])
    counts = iter([{"letta-db": 1.0}, {"letta-db": 3.5}])

    found = locusts.run(STACK, "Api", users=20, seconds=30, count=lambda: next(counts))

    assert found.rows["all"].failures == 1
    assert (found.before, found.after) == ({"letta-db": 1.0}, {"letta-db": 3.5})
    assert "--users 20 --spawn-rate 20" in engine.said[0]
    assert engine.said[0].endswith("Api")
    assert Path(locusts.FILE).is_file()
    assert "secret" not in engine.said[0]


def test_what_was_counted_before_every_client_was_ready_is_no_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    locust_at_work(monkeypatch, [])

    with pytest.raises(SystemExit, match="not every client was ready after 120 s"):
        locusts.run(STACK, "Api", users=20, seconds=30)


def test_the_slope_of_memory_has_an_error() -> None:
    exact = usage.fit([(count, 1000 + 3 * count) for count in range(0, 100, 10)])
    # 0, 1, 0, 1: a slope of 0.2, and by hand the root of 0.8 / 2 / 5.
    rough = usage.fit([(0, 0), (1, 1), (2, 0), (3, 1)])

    assert (exact.slope, exact.error) == pytest.approx((3.0, 0.0), abs=1e-9)
    assert (rough.slope, rough.error) == pytest.approx((0.2, 0.2828427))


def test_what_locust_says_is_shown_when_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeEngine(broken=["locust"]).install(monkeypatch)

    with pytest.raises(SystemExit, match="ended with 1 and no request: broken"):
        locusts.run(STACK, "Api", users=1, seconds=1)
