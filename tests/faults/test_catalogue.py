"""Every fault of the catalogue on a stack of its own; `nox -s faults -- -k redis` for some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.operate.faults import catalogue, report, run

if TYPE_CHECKING:
    from letta_stack.operate.faults.model import Fault, Outcome
    from letta_stack.operate.faults.stack import Stack
    from letta_stack.operate.faults.workload import Model


@pytest.mark.parametrize("fault", catalogue.FAULTS, ids=[one.name for one in catalogue.FAULTS])
def test_nothing_is_lost(
    fault: Fault, stack: Stack, model: Model, seed: int, outcomes: list[Outcome]
) -> None:
    outcome = run.one(stack, model, fault, seed)
    outcomes.append(outcome)

    assert not outcome.skipped
    assert outcome.passed, report.line(outcome)
