"""Every fault of a cluster; `nox -s "faults(kubernetes)" -- -k etcd` for some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.operate.faults import report, run
from letta_stack.operate.faults.cluster_faults import FAULTS
from tests.cluster_faults.conftest import SEED

if TYPE_CHECKING:
    from letta_stack.operate.faults.cluster_stage import ClusterStage
    from letta_stack.operate.faults.model import Fault, Outcome
    from letta_stack.operate.faults.workload import Model


@pytest.mark.parametrize("fault", FAULTS, ids=[one.name for one in FAULTS])
def test_nothing_is_lost(
    fault: Fault, stage: ClusterStage, model: Model, outcomes: list[Outcome]
) -> None:
    outcome = run.one(stage, model, fault, SEED)
    outcomes.append(outcome)

    assert outcome.passed, report.line(outcome)
