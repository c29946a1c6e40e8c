"""Sent is stored: what a collector has answered for reaches ClickHouse, whatever happens in between. docs/telemetry.md has the table."""

from __future__ import annotations

import secrets
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from tests.smoke import conservation, harness, telemetry
from tests.smoke.conservation import CONSUMERS, COUNT
from tests.smoke.stage import Count, Stage
from tests.smoke.test_collector import clickhouse_image  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SEED = {"LETTA_STACK_TELEMETRY_NUMBERS": "seed"}
GAVE_UP = "Dropping data"
CASES = [
    conservation.late,
    conservation.wrong_password,
    conservation.gone,
    conservation.long_outage,
    conservation.engine,
    conservation.full_queue,
    conservation.full_queue_killed,
    conservation.found_queue,
    conservation.full_disk,
    conservation.full_disk_killed,
    conservation.full_store,
    conservation.lost_answers,
    pytest.param(conservation.ten_minutes, marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
]


@pytest.fixture(scope="module")
def network(image: str) -> Iterator[str]:
    assert image
    with harness.network(f"{harness.RUN}-conservation") as one:
        yield one


@pytest.fixture(scope="module")
def clickhouse(network: str, clickhouse_image: str) -> Iterator[telemetry.Clickhouse]:  # noqa: F811 - a fixture
    with telemetry.clickhouse("conservation", network, clickhouse_image) as one:
        yield one


@pytest.fixture
def stage(
    network: str,
    clickhouse_image: str,  # noqa: F811 - a fixture
    clickhouse: telemetry.Clickhouse,
    tmp_path: Path,
) -> Stage:
    database = f"case_{secrets.token_hex(3)}"
    settings = {**telemetry.CLICKHOUSE_SETTINGS, "CLICKHOUSE_DATABASE": database}
    return Stage(
        network,
        clickhouse_image,
        replace(clickhouse, database=database),
        settings,
        tmp_path,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_was_taken_is_stored(
    case: Callable[[Stage], Count],
    stage: Stage,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    count = case(stage)

    record_testsuite_property(f"conservation: {case.__name__}", asdict(count))
    assert count.sent - count.lost_at_most <= count.stored <= count.sent
    # What was stored when the connection ended, and could not be confirmed.
    assert count.twice <= CONSUMERS * count.interruptions


def test_what_waits_for_a_backend_of_otlp_arrives_after_a_kill(network: str) -> None:
    assert conservation.otlp("pinned", network) == set()


def test_the_seeds_numbers_lose_what_a_batch_holds_when_the_process_is_killed(stage: Stage) -> None:
    with stage.collector(SEED) as collector:
        collector.send_spans("in the batch", COUNT)
        collector.crash()
        collector.send_spans("after", COUNT)
        count = stage.count(COUNT, interruptions=0)

        assert stage.clickhouse.stored("in the batch") == (0, 0)
        assert (count.sent, count.stored, count.twice) == (COUNT, COUNT, 0)


def test_the_seeds_numbers_lose_what_waits_for_longer_than_they_try(stage: Stage) -> None:
    names = ("clickhouse", "clickhouse-seed")
    with stage.collector(SEED, mounts=stage.shorter(*names)) as collector:
        collector.send_spans("before", 1)
        stage.arrive(1)
        with stage.outage():
            collector.send_spans("during", COUNT)
            harness.expect(
                lambda: GAVE_UP in collector.logs(),
                timeout=telemetry.SECONDS,
                what="the collector tries for ever",
            )
        collector.send_spans("after", COUNT)
        stage.arrive(1 + COUNT)

        assert stage.clickhouse.stored("during") == (0, 0)
