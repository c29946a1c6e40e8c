from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from letta_stack.errors import PolicyBroken
from letta_stack.policy import dashboards, monitoring

if TYPE_CHECKING:
    from pathlib import Path

ALERT: dict[str, Any] = {
    "alert": "ApiDown",
    "expr": "max(probe_success) == 0",
    "for": "1m",
    "labels": {"severity": "critical"},
    "annotations": {"summary": "It is down.", "runbook": "https://wiki.example/api"},
}
PANEL: dict[str, Any] = {
    "id": 1,
    "title": "Requests",
    "type": "timeseries",
    "gridPos": {"x": 0, "y": 0, "w": 12, "h": 7},
    "targets": [{"refId": "A", "datasource": dashboards.DATASOURCE, "expr": "sum(rate(x[5m]))"}],
}


def of_rules(text: str) -> list[tuple[str, str, str]]:
    return [(name, rule.name, problem) for name, rule, problem in monitoring.rules(text)]


def of_alert(**changes: Any) -> list[tuple[str, str, str]]:
    alert = {name: value for name, value in {**ALERT, **changes}.items() if value is not None}
    return of_rules(yaml.safe_dump({"groups": [{"name": "mine", "rules": [alert]}]}))


def of_panels(*panels: dict[str, Any], uid: str = "mine") -> list[tuple[str, str]]:
    known = {"overview": "Overview"}
    text = json.dumps({"uid": uid, "title": "Mine", "panels": panels})
    return list(dashboards.problems(text, known))


def of_panel(**changes: Any) -> list[tuple[str, str]]:
    return of_panels({**PANEL, **changes})


def test_rules_and_panels_that_are_well_have_no_problem() -> None:
    record = {"record": "job:x:rate5m", "expr": "sum(rate(x[5m]))", "labels": {"a": "b"}}
    text = yaml.safe_dump({"groups": [{"name": "mine", "rules": [ALERT, record]}]})

    assert of_rules(text) == []
    row = {"id": 2, "title": "More", "type": "row", "gridPos": {"x": 0, "y": 7, "w": 24, "h": 1}}
    beside = {**PANEL, "id": 3, "gridPos": {"x": 12, "y": 0, "w": 12, "h": 7}}
    assert of_panels(PANEL, row, beside) == []


@pytest.mark.parametrize(
    ("changes", "rule", "says"),
    [
        ({"expr": "sum(rate(x[5m])"}, "rule-file", "`sum(rate(x[5m])` is no expression: unclosed"),
        ({"expr": None}, "rule-file", "is no expression"),
        ({"expr": "rate(x)"}, "rule-file", "expected type matrix"),
        ({"for": "soon"}, "rule-file", "`for: soon` is no duration; write 30s, 5m or 1d"),
        ({"keep_firing_for": "5 m"}, "rule-file", "`keep_firing_for: 5 m` is no duration"),
        ({"annotation": {}, "lables": {}}, "rule-file", "has unknown keys: annotation, lables"),
        ({"labels": {"severity": "high"}}, "alert", "its severity is 'high'"),
        ({"labels": None}, "alert", "its severity is None"),
        ({"annotations": {"summary": "Down."}}, "alert", "has no runbook"),
    ],
)
def test_what_is_wrong_with_an_alert_is_said(changes: Any, rule: str, says: str) -> None:
    ((name, broken, problem),) = of_alert(**changes)

    assert (name, broken) == ("ApiDown", rule)
    assert says in problem


def test_every_missing_annotation_is_named() -> None:
    assert [problem for _, _, problem in of_alert(annotations=None)] == [
        "has no summary",
        "has no runbook",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("groups: [", "is not YAML: while parsing"),
        ("rules: []", "has no `groups:`"),
        ("groups: [{name: mine}]", "has no `groups:`"),
        ("[]", "has no `groups:`"),
        ("", "has no `groups:`"),
    ],
)
def test_a_file_that_has_no_rules_is_said(text: str, says: str) -> None:
    ((name, rule, problem),) = of_rules(text)

    assert (name, rule) == ("file", "rule-file")
    assert problem.startswith(says)


@pytest.mark.parametrize("rule", [{"expr": "x"}, {**ALERT, "record": "x"}, "x"])
def test_a_rule_is_one_thing(rule: object) -> None:
    found = of_rules(yaml.safe_dump({"groups": [{"name": "mine", "rules": [rule]}]}))

    assert found == [("mine", "rule-file", "has a rule that is neither an alert nor a record")]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"type": "graph"}, "its type is 'graph'; use one of row, stat, table, timeseries"),
        ({"targets": []}, "asks nothing: it has no targets"),
        ({"targets": [{"expr": "up"}]}, 'asks another source than {"type": "prometheus"'),
        (
            {"targets": [{"expr": "sum(", "datasource": dashboards.DATASOURCE}]},
            "`sum(` is no expression",
        ),
        ({"gridPos": {"x": 0}}, "has no gridPos with x, y, w and h"),
        ({"gridPos": {"x": 20, "y": 0, "w": 5, "h": 1}}, "is wider than the page"),
    ],
)
def test_what_is_wrong_with_a_panel_is_said(changes: Any, says: str) -> None:
    ((name, problem),) = of_panel(**changes)

    assert name == "Requests"
    assert problem.startswith(says)


def test_panels_are_told_apart_and_lie_beside_each_other() -> None:
    other = {**PANEL, "title": "Errors", "gridPos": {"x": 11, "y": 6, "w": 5, "h": 5}}

    assert of_panels(PANEL, other) == [
        ("Errors", "has the id 1 of another panel"),
        ("Errors", "lies over Requests"),
    ]
    assert of_panel(title="") == [("Mine", "has a panel without a title")]


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "is not JSON: "), ("[]", "has no uid"), ('{"uid": "a", "title": "b"}', "has no uid")],
)
def test_a_file_that_is_no_dashboard_is_said(text: str, says: str) -> None:
    ((name, problem),) = dashboards.problems(text, {})

    assert name == "file"
    assert problem.startswith(says)


def test_two_dashboards_do_not_share_an_address() -> None:
    assert of_panels(uid="overview") == [("Mine", "has the uid 'overview' of Overview")]


def test_a_users_own_files_are_read_too(tmp_path: Path) -> None:
    rules, drawn = tmp_path / monitoring.RULES_DIRECTORY, tmp_path / dashboards.DIRECTORY
    rules.mkdir(parents=True)
    drawn.mkdir(parents=True)
    (rules / "local-mine.yaml").write_text("groups: [", encoding="utf-8")
    (drawn / "local-mine.json").write_text("{", encoding="utf-8")
    (drawn / "local-notes.txt").write_text("{", encoding="utf-8")

    found = [(one.source, one.rule.name) for one in monitoring.check(tmp_path)]

    assert found == [
        ("observability/prometheus/rules/local-mine.yaml", "rule-file"),
        ("observability/dashboards/local-mine.json", "dashboard"),
    ]


def test_the_first_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    monitoring.refuse_unreadable(tmp_path)
    mine = tmp_path / monitoring.RULES_DIRECTORY / "local-mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("groups: [{name: mine, rules: [{record: x, expr: sum(}]}]", encoding="utf-8")

    with pytest.raises(PolicyBroken, match=r"local-mine\.yaml: x: rule-file: `sum\(` is no"):
        monitoring.refuse_unreadable(tmp_path)
