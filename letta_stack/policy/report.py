"""Findings for programs: JSON, and SARIF 2.1.0 for code scanning (OASIS standard, section 3)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from letta_stack.policy import monitoring
from letta_stack.policy.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.policy.model import Finding


def as_json(findings: Sequence[Finding]) -> str:
    """Write one object for each finding."""
    rows = [
        {
            "source": one.source,
            "service": one.service,
            "rule": one.rule.name,
            "problem": one.problem,
            "reason": one.rule.reason,
            "fix": one.rule.fix,
            "waiver": one.waiver or None,
        }
        for one in findings
    ]
    return json.dumps(rows, indent=2)


def as_sarif(findings: Sequence[Finding], files: Mapping[str, str]) -> str:
    """Write a SARIF log; ``files`` says which file a source is that is not one itself."""
    rules = [
        {
            "id": rule.name,
            "shortDescription": {"text": rule.reason},
            "help": {"text": rule.fix},
        }
        for rule in (*RULES, *monitoring.RULES)
    ]
    run = {
        "tool": {"driver": {"name": "letta-stack", "rules": rules}},
        "results": [_result(one, files.get(one.source, one.source)) for one in findings],
    }
    return json.dumps(
        {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [run],
        },
        indent=2,
    )


def _result(finding: Finding, file: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule.name,
        "level": "note" if finding.waiver else "error",
        "message": {"text": f"{finding.service}: {finding.problem}; {finding.rule.fix}"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": file}}}],
    }
    if finding.waiver:
        result["suppressions"] = [{"kind": "inSource", "justification": finding.waiver}]
    return result
