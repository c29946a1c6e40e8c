"""A `prod` stack of two servers on a database of three members."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from letta_stack.operate.faults import report, run, workload
from tests.faults.conftest import TEST_SECONDS
from tests.smoke import harness
from tests.smoke.conftest import deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_stack.operate.faults.model import Outcome
    from letta_stack.operate.faults.stack import Stack
    from tests.smoke.conftest import Deployment

SEED = 1  # of what faults choose by chance


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))


@pytest.fixture(scope="session")
def deployment() -> Iterator[Deployment]:
    with deployed("prod", "failover", harness.PROVIDER, "--database", "ha") as one:
        yield one


@pytest.fixture(scope="session")
def stack(deployment: Deployment) -> Stack:
    return run.of(deployment.stack)


@pytest.fixture(scope="session")
def model(stack: Stack) -> Iterator[workload.Model]:
    with workload.model(stack) as one:
        yield one


@pytest.fixture(scope="session")
def outcomes(stack: Stack) -> Iterator[list[Outcome]]:
    """Collect what the faults did; the table is there also after a failure."""
    found: list[Outcome] = []
    report.LOG.unlink(missing_ok=True)
    yield found
    report.write(found, SEED, name=report.name_of(stack.project))
    print(f"{os.linesep}{report.to_text(found)}")
