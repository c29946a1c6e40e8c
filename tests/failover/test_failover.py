"""Every way in which a database of several members loses one; `nox -s failover -- -k leader` for some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.operate.faults import failover, report, run
from tests.failover.conftest import SEED
from tests.smoke.conftest import inv

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.operate.faults.model import Fault, Outcome
    from letta_stack.operate.faults.stack import Stack
    from letta_stack.operate.faults.workload import Model


@pytest.mark.parametrize("fault", failover.FAULTS, ids=[one.name for one in failover.FAULTS])
def test_nothing_is_lost_and_writes_go_on(
    fault: Fault, stack: Stack, model: Model, outcomes: list[Outcome]
) -> None:
    outcome = run.one(stack, model, fault, SEED)
    outcomes.append(outcome)

    assert not outcome.skipped
    assert outcome.passed, report.line(outcome)


def test_a_backup_is_taken_from_the_leader_and_restored_there(stack: Stack, tmp_path: Path) -> None:
    project = ("--env", "prod", "--project", stack.project.name, "--dir", str(tmp_path))

    inv("backup.create", *project, "--clear-secrets")
    inv("backup.verify", *project)
    inv("backup.restore", *project, "--clear-secrets", "--yes")

    run.recover(stack)
    inv("doctor", "--env", "prod", "--project", stack.project.name)
