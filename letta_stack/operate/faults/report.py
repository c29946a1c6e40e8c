"""The table of what faults did: for people, for the release page, for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from letta_stack.base.paths import REPORTS
from letta_stack.operate import table
from letta_stack.operate.faults.model import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.operate.faults.load import Attempt
    from letta_stack.operate.faults.model import Fault, Outcome
    from letta_stack.topology.project import Project

FAULTS, FAILOVER = "faults", "failover"  # the names of the tables
LOG = REPORTS / "faults.log"  # one JSON object a line: every failed request of the run
ROWS_HEADER = (
    "longest without a message s",
    "longest without a row s",
    "rows acknowledged",
    "rows lost",
)
LOGGED = 400  # characters of an answer: the end, where a stream says why
HEADER = (
    *("fault", "outcome", "healthy after s", "failed reads", "failed messages", "cut streams"),
    *("acknowledged", "lost", "spans lost"),
)


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return a row for each fault, in the order of the header."""
    return [
        (
            one.fault,
            one.verdict,
            *(
                ("",) * (len(HEADER) - 2)
                if one.skipped
                else (
                    f"{one.seconds_to_healthy:.1f}",
                    *(
                        f"{one.requests[kind].failed} of {one.requests[kind].sent}"
                        for kind in KINDS
                    ),
                    str(one.acknowledged),
                    str(one.lost),
                    "?" if one.spans_lost is None else f"{one.spans_lost} of {one.spans_expected}",
                )
            ),
        )
        for one in outcomes
    ]


def name_of(project: Project) -> str:
    """Name the table of a project."""
    return FAILOVER if project.topology.members else FAULTS


def cells(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return the table, its header first; what was written to PostgreSQL itself only where something was."""
    table_of_all = [HEADER, *rows(outcomes)]
    if not any(one.rows for one in outcomes):
        return table_of_all
    more = [ROWS_HEADER, *(written(one) for one in outcomes)]
    return [(*first, *second) for first, second in zip(table_of_all, more, strict=True)]


def written(outcome: Outcome) -> tuple[str, ...]:
    """Return the cells of what was written to PostgreSQL itself."""
    if outcome.rows is None:
        return ("",) * len(ROWS_HEADER)
    found = outcome.rows
    lost = max(found.lost.values(), default=0)
    gaps = (f"{outcome.longest_gap:.1f}", f"{found.longest_gap:.1f}")
    return (*gaps, str(found.acknowledged), str(lost))


def line(outcome: Outcome) -> str:
    """Sum one fault up."""
    if outcome.skipped:
        return f"skipped: {outcome.skipped}"
    failed = ", ".join(
        f"{outcome.requests[kind].failed}/{outcome.requests[kind].sent} {kind}" for kind in KINDS
    )
    text = f"{outcome.verdict}: healthy after {outcome.seconds_to_healthy:.1f} s, failed {failed}, lost {outcome.lost} of {outcome.acknowledged}"
    return "\n    ".join([text, *outcome.breaches])


def to_text(outcomes: Sequence[Outcome]) -> str:
    """Return the table for a terminal."""
    return table.render(cells(outcomes))


def to_markdown(outcomes: Sequence[Outcome], seed: int) -> str:
    """Return the table with what was expected and did not hold."""
    header, *body = cells(outcomes)
    text = [f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *body)]
    failed = [f"- **{one.fault}**: {reason}" for one in outcomes for reason in one.breaches]
    skipped = [f"- {one.fault} was skipped: {one.skipped}" for one in outcomes if one.skipped]
    return "\n".join([f"Faults under load, seed {seed}:", "", *text, "", *failed, *skipped]).strip()


def to_json(outcomes: Sequence[Outcome], seed: int) -> str:
    """Return everything that is known."""
    faults = [asdict(one) | {"passed": one.passed} for one in outcomes]
    return json.dumps({"seed": seed, "faults": faults}, indent=1)


def log(fault: str, attempts: Sequence[Attempt]) -> None:
    """Keep what failed, with seconds since the load of this fault began."""
    LOG.parent.mkdir(exist_ok=True)
    began = min((one.began for one in attempts), default=0.0)
    with LOG.open("a", encoding="utf-8") as file:
        for one in attempts:
            if not one.answer.done:
                at, took = round(one.began - began, 2), round(one.ended - one.began, 2)
                words = {"fault": fault, "at": at, "took": took, "kind": one.kind}
                words |= {"status": one.answer.status, "trace": one.trace}
                file.write(json.dumps(words | {"text": one.answer.text[-LOGGED:]}) + "\n")


def write(outcomes: Sequence[Outcome], seed: int, *, name: str = FAULTS) -> None:
    """Leave both files in reports/."""
    REPORTS.mkdir(exist_ok=True)
    for ending, text in (("md", to_markdown(outcomes, seed)), ("json", to_json(outcomes, seed))):
        (REPORTS / f"{name}.{ending}").write_text(text + "\n", encoding="utf-8")


def catalogue(faults: Sequence[Fault]) -> str:
    """Return what each fault does, how it is undone and what is asserted."""
    return plan(faults, {})


def plan(faults: Sequence[Fault], skipped: Mapping[str, str]) -> str:
    """Return the same with what cannot be done here; ``skipped`` has the reason by name."""
    cells = [("fault", "what happens", "undo", "asserted, besides that nothing is lost")]
    for one in faults:
        reason = skipped.get(one.name)
        last = f"skipped: {reason}" if reason else asserted(one)
        cells.append((one.name, one.what, one.undo or "repairs itself", last))
    return table.render(cells)


def asserted(fault: Fault) -> str:
    """Say what has to hold, in words."""
    expect = fault.expect
    parts = [f"healthy within {expect.healthy:g} s"]
    if expect.unaffected:
        parts.append(f"no {' or '.join(expect.unaffected)} fails")
    if expect.reads_after:
        parts.append(f"no read fails that begins {expect.reads_after:g} s after it or later")
    if expect.at_most < 1 and set(expect.unaffected) != set(KINDS):
        parts.append(f"at most {expect.at_most:.0%} of requests fail")
    return ", ".join(parts)
