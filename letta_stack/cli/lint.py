"""The policy: `lint`."""

from __future__ import annotations

from invoke.context import Context

from letta_stack.cli.task import task


@task(
    iterable=["env", "file"],
    help={
        "env": "only this topology, with its override file, repeatable (default: all)",
        "file": "a compose file of your own in the place of the topologies, repeatable",
        "json": "write the findings as JSON",
        "sarif": "write the findings as SARIF, for code scanning",
    },
)
def lint(
    _: Context, env: list[str], file: list[str], json: bool = False, sarif: bool = False
) -> None:
    """Check compose files, alert rules and dashboards against the policy."""
    from letta_stack.base import console
    from letta_stack.base.paths import ROOT
    from letta_stack.policy import lint as policy_lint
    from letta_stack.policy import monitoring, report
    from letta_stack.topology.models import models, watched

    found = models(env, file)
    findings = [one for model in found for one in policy_lint.check(model.source, model.config)]
    if watched(env, file):
        findings += monitoring.check(ROOT)
    if json:
        console.result(report.as_json(findings))
    elif sarif:
        console.result(report.as_sarif(findings, {model.source: model.file for model in found}))
    else:
        for finding in findings:
            console.result(str(finding))
    policy_lint.verdict(findings)
