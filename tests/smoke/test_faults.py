"""Two faults a day, on the stack that is up anyway; `nox -s faults` has all of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from letta_stack.operate.faults import catalogue, report, run, workload

if TYPE_CHECKING:
    from tests.smoke.conftest import Deployment

pytestmark = [pytest.mark.last(order=1), pytest.mark.only("prod")]

COUNT = 2
SEED = int(f"{datetime.now(UTC):%Y%m%d}")


@pytest.mark.timeout(600, func_only=True)  # two servers may have to start on a busy machine
def test_a_sample_of_faults_loses_nothing(deployment: Deployment) -> None:
    stack = run.of(deployment.stack)
    with workload.model(stack) as model:
        outcomes = [run.one(stack, model, one, SEED) for one in catalogue.sample(SEED, COUNT)]

    assert [report.line(one) for one in outcomes if not one.passed] == []
