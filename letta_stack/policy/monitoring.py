"""Holds alert rules and dashboards against what Prometheus and Grafana read, without either of them.

`nox -s alerts` asks promtool too; here a mistake is found before anything is started, on a machine with nothing but Python.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from letta_stack.errors import PolicyBroken
from letta_stack.policy import dashboards, promql
from letta_stack.policy.model import Finding, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RULES_DIRECTORY = "observability/prometheus/rules"
SEVERITIES = ("critical", "warning", "info")
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+|0")
_KINDS = ("alert", "record")

RULE_FILE = Rule(
    "rule-file",
    "Prometheus does not start with a file of rules that it cannot read",
    "see https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/",
)
ALERT = Rule(
    "alert",
    "who is told at night must know how bad it is and what to do",
    "give labels.severity (critical, warning or info), annotations.summary and annotations.runbook",
)
RULES = (RULE_FILE, ALERT, dashboards.DASHBOARD)


def check(root: Path) -> list[Finding]:
    """Return what is wrong with the rules and dashboards under ``root``, a user's own (`local-*`) among them."""
    found = []
    for path in sorted((root / RULES_DIRECTORY).glob("*.yaml")):
        source = path.relative_to(root).as_posix()
        for name, rule, problem in rules(path.read_text(encoding="utf-8")):
            found.append(Finding(source, name, rule, problem))
    return found + dashboards.check(root)


def refuse_unreadable(root: Path) -> None:
    """Raise ``PolicyBroken`` for rules and dashboards that Prometheus and Grafana would not start with."""
    for finding in check(root):
        raise PolicyBroken(str(finding))


def rules(text: str) -> Iterator[tuple[str, Rule, str]]:
    """Yield name, broken rule and problem for what is wrong in a file of rules."""
    try:
        groups = yaml.safe_load(text)["groups"]
        pairs = [(group["name"], rule) for group in groups for rule in group["rules"]]
    except yaml.YAMLError as error:
        yield "file", RULE_FILE, f"is not YAML: {' '.join(str(error).split())}"
        return
    except (KeyError, TypeError):
        yield "file", RULE_FILE, "has no `groups:` that have a name and rules each"
        return
    for group, rule in pairs:
        if not isinstance(rule, dict) or sum(kind in rule for kind in _KINDS) != 1:
            yield str(group), RULE_FILE, "has a rule that is neither an alert nor a record"
            continue
        name = str(rule.get("alert") or rule.get("record"))
        for problem in _readable(rule):
            yield name, RULE_FILE, problem
        if "alert" in rule:
            for problem in _useful(rule):
                yield name, ALERT, problem


def _readable(rule: Mapping[str, Any]) -> Iterator[str]:
    if problem := promql.problem(rule.get("expr")):
        yield problem
    for key in ("for", "keep_firing_for"):
        if key in rule and not _DURATION.fullmatch(str(rule[key])):
            yield f"`{key}: {rule[key]}` is no duration; write 30s, 5m or 1d"
    if unknown := set(rule) - {*_KINDS, "expr", "for", "keep_firing_for", "labels", "annotations"}:
        yield f"has unknown keys: {', '.join(sorted(unknown))}"


def _useful(rule: Mapping[str, Any]) -> Iterator[str]:
    severity = (rule.get("labels") or {}).get("severity")
    if severity not in SEVERITIES:
        yield f"its severity is {severity!r}"
    for name in ("summary", "runbook"):
        if not (rule.get("annotations") or {}).get(name):
            yield f"has no {name}"
