"""Alerts and dashboards: each can be read, says what to do, and is tested. promtool itself is asked by `nox -s alerts`."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from letta_stack.base.paths import ROOT
from letta_stack.policy import dashboards, monitoring
from letta_stack.topology.catalogue import ARCHIVE, BACKUP, TOPOLOGIES, with_members

RULES = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / monitoring.RULES_DIRECTORY).glob("[!l]*.yaml"))
}
ALERTS = {
    rule["alert"]: rule
    for file in RULES.values()
    for group in file["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
TESTS = [
    test
    for path in (ROOT / "observability/prometheus/tests").glob("*.yaml")
    for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
]
DASHBOARDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / dashboards.DIRECTORY).glob("[!l]*.json"))
}
PAGES = ROOT / "docs/runbooks"
SERVICES = {
    # Runbooks name a member by its number, which the pattern below does not take.
    re.sub(r"-\d$", "", name)
    for name in with_members(TOPOLOGIES["observability"]).names
}

each_alert = pytest.mark.parametrize("name", ALERTS)


def test_the_policy_finds_nothing_in_them() -> None:
    assert monitoring.check(ROOT) == []


def test_no_two_alerts_have_one_name() -> None:
    names = [
        rule["alert"]
        for file in RULES.values()
        for group in file["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]

    assert sorted(names) == sorted(ALERTS)


@each_alert
def test_an_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]

    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook"] == f"docs/runbooks/{name}.md"
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {name}\n\nSeverity: {rule['labels']['severity']}. ")
    assert re.search(r"(?m)^    \S", page.partition("## Do\n")[2])


@each_alert
def test_an_alert_is_tested_once_firing_and_once_silent(name: str) -> None:
    expected = {
        sample["value"]
        for test in TESTS
        for one in test["promql_expr_test"]
        if f'alertname="{name}"' in one["expr"]
        for sample in one["exp_samples"]
    }

    assert expected == {0, 1}


def test_there_is_no_page_without_an_alert_and_the_list_has_them_all() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    rows = re.findall(r"(?m)^\| \[(\w+)\]\(\1\.md\)", (PAGES / "README.md").read_text("utf-8"))

    assert pages == set(ALERTS)
    assert sorted(rows) == sorted(ALERTS)


def test_pages_and_rules_name_services_that_there_are() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")]
    texts += [json.dumps(RULES), json.dumps(DASHBOARDS)]
    named = {name for text in texts for name in re.findall(r"\bletta-[a-z-]+[a-z]\b", text)}

    assert named - {"letta-stack", "letta-stack-observability", ARCHIVE, BACKUP} <= set(SERVICES)


def test_prometheus_fetches_from_services_that_there_are() -> None:
    text = (ROOT / "observability/prometheus/prometheus.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"\bletta-[a-z-]+[a-z]\b", text))

    assert yaml.safe_load(text)["rule_files"] == ["rules/*.yaml"]
    assert named - {"letta-stack"} <= set(SERVICES)


def test_every_dashboard_has_names_of_its_own() -> None:
    titles = [one["title"] for one in DASHBOARDS.values()]

    assert len(set(titles)) == len(titles) == 7
    for name, one in DASHBOARDS.items():
        assert one["uid"] == name
        panels = [panel["title"] for panel in one["panels"]]
        assert len(set(panels)) == len(panels), name
