"""Holds dashboards against Grafana's form, as far as Grafana and the page that stands for it both need it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from letta_stack.policy import promql
from letta_stack.policy.model import Finding, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DIRECTORY = "observability/dashboards"
# What both draw.
PANELS = ("row", "stat", "table", "timeseries")
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24
_PLACE = ("x", "y", "w", "h")

DASHBOARD = Rule(
    "dashboard",
    "a dashboard that cannot be read is not there when it is needed",
    "compare it with the others in observability/dashboards",
)


def check(root: Path) -> list[Finding]:
    """Return what is wrong with the dashboards under ``root``."""
    found = []
    known: dict[str, str] = {}
    for path in sorted((root / DIRECTORY).glob("*.json")):
        source = path.relative_to(root).as_posix()
        for name, problem in problems(path.read_text(encoding="utf-8"), known):
            found.append(Finding(source, name, DASHBOARD, problem))
    return found


def problems(text: str, known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield panel and problem for what is wrong in a dashboard.

    ``known`` has the name of each dashboard that was read before, by what it is called in addresses; this one is added.
    """
    try:
        dashboard = json.loads(text)
        uid, title = dashboard["uid"], dashboard["title"]
        panels = [(str(panel.get("title", "")), panel) for panel in dashboard["panels"]]
    except ValueError as error:
        yield "file", f"is not JSON: {error}"
        return
    except (AttributeError, KeyError, TypeError):
        yield "file", "has no uid, title and panels"
        return
    if uid in known:
        yield title, f"has the uid {uid!r} of {known[uid]}"
    known[uid] = title
    taken: dict[tuple[int, int], str] = {}
    ids: set[object] = set()
    for name, panel in panels:
        if not name:
            yield title, "has a panel without a title"
        if panel.get("id") in ids:
            yield name, f"has the id {panel.get('id')} of another panel"
        ids.add(panel.get("id"))
        for problem in _panel(panel):
            yield name, problem
        for problem in _place(panel, name, taken):
            yield name, problem


def _panel(panel: Mapping[str, Any]) -> Iterator[str]:
    kind = panel.get("type")
    if kind not in PANELS:
        yield f"its type is {kind!r}; use one of {', '.join(PANELS)}"
        return
    targets = panel.get("targets") or []
    if kind != "row" and not targets:
        yield "asks nothing: it has no targets"
    for target in targets:
        if target.get("datasource") != DATASOURCE:
            yield f"asks another source than {json.dumps(DATASOURCE)}"
        if problem := promql.problem(target.get("expr")):
            yield problem


def _place(panel: Mapping[str, Any], name: str, taken: dict[tuple[int, int], str]) -> Iterator[str]:
    """Say whether a panel lies beside the others, and add its cells to those that are taken."""
    try:
        x, y, width, height = (int(panel["gridPos"][key]) for key in _PLACE)
    except (KeyError, TypeError, ValueError):
        yield "has no gridPos with x, y, w and h"
        return
    if x + width > COLUMNS:
        yield f"is wider than the page, which has {COLUMNS} columns"
    cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
    for other in dict.fromkeys(taken[cell] for cell in sorted(cells) if cell in taken):
        yield f"lies over {other}"
    taken.update(dict.fromkeys(cells, name))
