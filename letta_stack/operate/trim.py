"""`inv trim`: deletes what the server keeps for debugging and never deletes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import console
from letta_stack.operate import postgres

if TYPE_CHECKING:
    from letta_stack.topology.project import Project

BATCH = 2000  # rows; a transaction of this size holds no lock that a running turn would notice
# No other table refers to these: requests to and answers of model providers, as they went over the wire.
OLD = "provider_traces WHERE created_at < now() - make_interval(days => {days})"
COUNT = f"SELECT count(*) FROM {OLD}"  # noqa: S608 - a number goes in
DELETE = f"""
WITH gone AS (DELETE FROM provider_traces WHERE id IN (SELECT id FROM {OLD} LIMIT {BATCH}) RETURNING 1)
SELECT count(*) FROM gone
"""  # noqa: S608 - numbers go in


def trim(project: Project, *, days: int, dry_run: bool) -> int:
    """Delete provider traces that are older than ``days`` from a running project; return how many there were."""
    target = postgres.of(project)
    total = int(target.value(COUNT.format(days=days)))
    if dry_run or not total:
        return total
    while int(target.value(DELETE.format(days=days))) == BATCH:
        console.say("provider_traces: deleting")
    target.query("VACUUM provider_traces")
    return total
