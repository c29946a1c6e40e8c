"""Checks of a database of several members: who leads, who confirms, and how far the others are behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from letta_stack.operate import table
from letta_stack.operate.doctor.model import Finding, fail, ok, warn
from letta_stack.topology import leader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.operate.doctor.model import Subject

NAME = "members"
LEADERS = {"leader", "standby_leader"}
CONFIRMS = "sync_standby"
WORKS = {"running", "streaming"}
MOST_LAG = 16 * 1024**2  # bytes: a segment of PostgreSQL's log
RUNBOOK = "docs/runbooks/DatabaseMemberMissing.md"


def check(subject: Subject) -> list[Finding]:
    """Ask any member how all of them are, where there are several."""
    members = subject.project.topology.members
    if not members:
        return []
    for container in leader.running(subject.project, members):
        if answer := leader.answer(container, "/cluster"):
            return [verdict(json.loads(answer)["members"], members)]
    return [fail(NAME, "no member answers", f"`inv up {subject.project.flags}`, {RUNBOOK}")]


def verdict(found: Sequence[dict[str, Any]], wanted: Sequence[str]) -> Finding:
    """Say what is wrong with members as Patroni lists them; ``wanted`` are the names that there should be."""
    leads = [one["name"] for one in found if one["role"] in LEADERS]
    confirms = [one["name"] for one in found if one["role"] == CONFIRMS]
    missing = [name for name in wanted if name not in {one["name"] for one in found}]
    broken = [f"{one['name']} is {one['state']}" for one in found if one["state"] not in WORKS]
    broken += [f"{name} is gone" for name in missing]
    if not leads:
        return fail(NAME, "; ".join(["nobody leads", *broken]), RUNBOOK)
    if not confirms:
        seen = f"{leads[0]} leads and nobody confirms what it writes, so writes wait"
        return fail(NAME, "; ".join([seen, *broken]), RUNBOOK)
    seen = f"{leads[0]} leads, {' and '.join(confirms)} confirms"
    lags = {one["name"]: one["lag"] for one in found if "lag" in one}
    behind = [
        f"{name} is {table.size(lag) if isinstance(lag, int) else 'nobody knows how far'} behind"
        for name, lag in lags.items()
        if not isinstance(lag, int) or lag > MOST_LAG
    ]
    if broken or behind:
        return warn(NAME, "; ".join([seen, *broken, *behind]), RUNBOOK)
    return ok(NAME, f"{seen}, all of {len(wanted)} run, {table.size(max(lags.values()))} behind")
