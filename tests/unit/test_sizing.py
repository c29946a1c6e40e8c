"""What many replicas need, computed from what one was measured to take."""

from __future__ import annotations

import pytest

from bench import sizing

LOAD = {
    "servers": {
        "1": {
            "Talker": {"cpu_ms_a_request": {"letta-server": 200.0, "letta-db": 40.0}},
            "Busy": {
                "cpu_ms_a_request": {"letta-server": 25.0, "letta-db": 2.5, "letta-nginx": 1.0}
            },
        }
    },
    "growth": {
        "memory_samples": [[0, 250_000_000], [10, 300_000_000]],
        "bytes_a_message": {"database": 10_000.0, "telemetry": 5_000.0, "container's log": 0.0},
    },
}
SCALE = {
    "server": {
        "turn": {"transactions": 20.0, "pooler_cpu_ms": 2.0, "ms_in_transactions": 100.0},
        "call": {"transactions": 2.5, "pooler_cpu_ms": 0.5, "ms_in_transactions": 10.0},
    }
}


@pytest.fixture
def one() -> sizing.Replica:
    return sizing.replica(LOAD, SCALE)


def test_a_replica_gets_what_its_processor_can_do(one: sizing.Replica) -> None:
    # A turn and its four calls take 200 + 4 x 25 ms of it.
    assert one.turns == pytest.approx(0.6 / 0.3)
    assert one.processors["letta-server"] == pytest.approx(0.6)
    assert one.processors["letta-db"] == pytest.approx(2 * 0.050)
    assert one.processors["letta-redis"] == 0
    assert one.transactions == pytest.approx(2 * 30)
    assert one.busy == pytest.approx(2 * 0.140)
    assert one.pooler == pytest.approx(2 * 0.004)
    assert one.memory == pytest.approx(0.3)
    # 2 turns a second, 21 600 seconds of a day, 10 KB.
    assert one.database == pytest.approx(0.432)


def test_what_ends_first_comes_first(one: sizing.Replica) -> None:
    one = sizing.Replica(**{**vars(one), "processors": dict.fromkeys(sizing.SERVICES, 0.1)})

    found = sizing.limits(one)

    assert [count for count, _, _ in found] == sorted(count for count, _, _ in found)
    by_name = {what: count for count, what, _ in found}
    assert by_name["300 connections of PostgreSQL"] == 9
    assert by_name["16 processors of PostgreSQL"] == 128
    assert by_name["PgBouncer, which uses one processor"] == 100


def test_a_table_has_a_column_for_each_number_of_replicas(one: sizing.Replica) -> None:
    one = sizing.Replica(**{**vars(one), "logs": 0.0})

    lines = sizing.needs(one).splitlines()

    assert lines[0] == "| replicas | 1 | 10 | 100 | 1 000 |"
    assert "| turns a second | 2.0 | 20 | 200 | 2000 |" in lines
    assert "| containers' logs, GB a day | 0 | 0 | 0 | 0 |" in lines


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.00812, "0.0081"),
        (0.1, "0.10"),
        (3.39, "3.4"),
        (31, "31"),
        (339.1, "340"),
        (9.97, "10"),
    ],
)
def test_two_digits_count(value: float, text: str) -> None:
    assert sizing.short(value) == text


def test_the_page_has_the_tables_of_the_results() -> None:
    text = sizing.PAGE.read_text(encoding="utf-8")

    assert text == sizing.page(text), "run python -m bench.sizing --write"
    for table in sizing.tables().values():
        assert table in text
