"""The matrix of topologies and checks with its seconds, as JSON for programs and as Markdown for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base.paths import REPORTS
from letta_stack.errors import BadReports
from letta_stack.release.reports import PASSED, read, read_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from letta_stack.release.reports import Case, Report

SKIPPED = "skipped"


def show(directory: str, *, as_json: bool) -> str:
    """Return the matrix of the reports in ``directory`` (default: where nox leaves them); raise ``BadReports``."""
    reports = read_all(Path(directory) if directory else REPORTS)
    return to_json(reports) if as_json else to_markdown(reports)


def write(directory: Path = REPORTS) -> None:
    """Leave ``checks.json`` and ``checks.md`` beside the reports.

    Each session calls it when it ends. What another session is just writing is left out: that one will call it, too.
    """
    reports = []
    for path in sorted(directory.glob("*.xml")):
        try:
            reports.append(read(path))
        except BadReports:
            continue
    directory.mkdir(exist_ok=True)
    for name, text in (("checks.json", to_json(reports)), ("checks.md", to_markdown(reports))):
        (directory / name).write_text(text + "\n", encoding="utf-8")


def to_json(reports: Iterable[Report]) -> str:
    """Return every check as an object of its own, with what it ran on."""
    rows = [asdict(report.facts) | asdict(case) for report in reports for case in report.cases]
    return json.dumps(rows, indent=1)


def to_markdown(reports: Iterable[Report]) -> str:
    """Return one table for each platform, engine and version: a row for a check, a column for a topology."""
    ordered = sorted(reports, key=lambda one: (_ground(one), one.facts.topology))
    parts = [_table(ground, list(some)) for ground, some in groupby(ordered, key=_ground)]
    return "\n\n".join(parts)


def _ground(report: Report) -> tuple[str, str, str]:
    return report.facts.letta, report.facts.platform, report.facts.engine


def _table(ground: tuple[str, str, str], reports: Sequence[Report]) -> str:
    letta, platform, engine = ground
    columns = [{case.name: case for case in report.cases} for report in reports]
    names = sorted({name for column in columns for name in column})
    return "\n".join(
        [
            f"Letta {letta} on {platform}, engine {engine}, seconds:",
            "",
            _row("check", *(one.facts.topology for one in reports)),
            _row("---", *("--:" for _ in reports)),
            *(_row(name, *(_cell(column.get(name)) for column in columns)) for name in names),
            _row("**passed**", *(f"**{one.passed} of {one.tests}**" for one in reports)),
            _row("**all, with start and stop**", *(f"**{one.seconds:.0f}**" for one in reports)),
        ]
    )


def _row(*cells: str) -> str:
    # A parameter of a test may hold the character that ends a cell.
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _cell(case: Case | None) -> str:
    if case is None:
        return ""
    if case.outcome == SKIPPED:
        return SKIPPED
    seconds = f"{case.seconds:.1f}"
    return seconds if case.outcome == PASSED else f"**{case.outcome}** {seconds}"
