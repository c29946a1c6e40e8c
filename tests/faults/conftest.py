"""A `prod` stack with HTTPS and two servers, for faults alone."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from letta_stack.image import contract
from letta_stack.operate.faults import report, run, workload
from tests.smoke import disks, harness
from tests.smoke.conftest import deployed, inv

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from letta_stack.operate.faults.model import Outcome
    from letta_stack.operate.faults.stack import Stack

NAME = "faults"
DISK_MIB, RESERVE_MIB = 700, "96"
# The longest fault, the longest way back and everything that the load still waits for.
TEST_SECONDS = 900


def pytest_addoption(parser: pytest.Parser) -> None:
    today = f"{datetime.now(UTC):%Y%m%d}"
    parser.addoption("--seed", type=int, default=int(today), help="of what faults choose by chance")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    result = yield
    if result.failed:
        result.sections.extend(harness.last_words())
    return result


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--seed"))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Bring it up with a certificate, so that one can expire, and a small disk, so that it can be full."""
    project = f"{harness.RUN}-{NAME}"
    inv("certs.make", "--project", project)
    volume = disks.make("prod", project, DISK_MIB)
    settings = {
        **harness.PROVIDER,
        "LETTA_STACK_HTTP_PORT": harness.free_port(),
        contract.RESERVE_VARIABLE: RESERVE_MIB,
    }
    with (
        deployed("prod", NAME, settings) as deployment,
        # Keeps the disk while the database is gone.
        harness.running(
            "faults-disk", entrypoint="sleep", command=["infinity"], volumes=[(volume, "/data")]
        ),
    ):
        yield run.of(deployment.stack)


@pytest.fixture(scope="session")
def model(stack: Stack) -> Iterator[workload.Model]:
    with workload.model(stack) as one:
        yield one


@pytest.fixture(scope="session")
def outcomes(seed: int) -> Iterator[list[Outcome]]:
    """Collect what the faults did; the table is there also after a failure."""
    found: list[Outcome] = []
    report.LOG.unlink(missing_ok=True)
    yield found
    report.write(found, seed)
    print(f"{os.linesep}{report.to_text(found)}")
