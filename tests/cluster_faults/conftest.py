"""A namespace on the cluster for trials, for faults alone."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from letta_stack.operate.faults import report, workload
from tests.smoke import harness, on_kubernetes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from letta_stack.operate.faults.cluster_stage import ClusterStage
    from letta_stack.operate.faults.model import Outcome

SEED = int(f"{datetime.now(UTC):%Y%m%d}")
# The longest fault, the longest way back and everything that the load still waits for.
TEST_SECONDS = 1200


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    result = yield
    if result.failed:
        result.sections.extend(harness.last_words())
    return result


@pytest.fixture(scope="session")
def stage() -> Iterator[ClusterStage]:
    with on_kubernetes.deployed() as deployment:
        yield on_kubernetes.stage(deployment)


@pytest.fixture(scope="session")
def model(stage: ClusterStage) -> Iterator[workload.Model]:
    with workload.model(stage) as one:
        yield one


@pytest.fixture(scope="session")
def outcomes() -> Iterator[list[Outcome]]:
    """Collect what the faults did; the table is there also after a failure."""
    found: list[Outcome] = []
    report.LOG.unlink(missing_ok=True)
    yield found
    report.write(found, SEED, name=f"{report.FAULTS}-kubernetes")
    print(f"{os.linesep}{report.to_text(found)}")
