"""Holds rendered models against the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from letta_stack.errors import PolicyBroken
from letta_stack.policy.model import WAIVER_LABEL, Finding
from letta_stack.policy.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def check(source: str, config: Mapping[str, Any]) -> list[Finding]:
    """Return every rule that a service of the rendered model breaks, waived ones too."""
    return [
        finding
        for name, service in config["services"].items()
        for finding in _service(source, name, service)
    ]


def _service(source: str, name: str, service: Mapping[str, Any]) -> Iterator[Finding]:
    waivers = {
        label.removeprefix(WAIVER_LABEL): str(reason or "")
        for label, reason in (service.get("labels") or {}).items()
        if label.startswith(WAIVER_LABEL)
    }
    for rule in RULES:
        for problem in rule.problems(service):
            yield Finding(source, name, rule, problem, waivers.get(rule.name, "").strip())


def refuse_published_data(source: str, config: Mapping[str, Any]) -> None:
    """Raise ``PolicyBroken`` if other machines would reach a data store and nobody waived that."""
    for finding in check(source, config):
        if finding.rule.name == "data-port" and not finding.waiver:
            raise PolicyBroken(str(finding))


def verdict(findings: Sequence[Finding]) -> None:
    """Raise ``PolicyBroken`` if a finding is not waived."""
    if count := sum(not finding.waiver for finding in findings):
        rules = "rule is" if count == 1 else "rules are"
        raise PolicyBroken(
            f"{count} {rules} broken; fix each, or waive a service's with the label "
            f'`{WAIVER_LABEL}RULE: "why"` on it'
        )
