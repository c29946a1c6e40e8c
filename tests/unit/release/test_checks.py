from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import BadReports
from letta_stack.release import checks

if TYPE_CHECKING:
    from pathlib import Path

PASSING = (
    '<testcase classname="tests.smoke.test_agents" name="test_an_agent_answers[{}]" time="1.26" />'
)
FAILING = (
    '<testcase classname="tests.smoke.test_agents" name="test_a|b[x-{}]" time="2.04">'
    '<failure message="assert 1 == 2">traceback</failure></testcase>'
)
LEFT_OUT = '<testcase classname="tests.smoke.test_agents" name="test_tools[{}]" time="0.0"><skipped /></testcase>'


def report(topology: str, *cases: str, platform: str = "linux/amd64", failures: int = 0) -> str:
    facts = {"topology": topology, "platform": platform, "engine": "26.1.5", "letta": "0.16.8"}
    properties = "".join(f'<property name="{one}" value="{facts[one]}" />' for one in facts)
    counts = f'errors="0" failures="{failures}" skipped="0" tests="{len(cases)}" time="61.5"'
    return (
        f'<testsuites><testsuite name="pytest" {counts}><properties>{properties}</properties>'
        f"{''.join(case.format(topology) for case in cases)}</testsuite></testsuites>"
    )


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    texts = [
        report("single", PASSING, FAILING, failures=1),
        report("dev", PASSING, LEFT_OUT),
        report("dev", PASSING, platform="linux/arm64"),
    ]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.xml").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_row_is_a_check_a_column_a_topology_and_a_table_a_platform(reports: Path) -> None:
    assert checks.show(str(reports), as_json=False).splitlines() == [
        "Letta 0.16.8 on linux/amd64, engine 26.1.5, seconds:",
        "",
        "| check | dev | single |",
        "| --- | --: | --: |",
        "| agents: an agent answers | 1.3 | 1.3 |",
        r"| agents: a\|b[x] |  | **failed** 2.0 |",
        "| agents: tools | skipped |  |",
        "| **passed** | **2 of 2** | **1 of 2** |",
        "| **all, with start and stop** | **62** | **62** |",
        "",
        "Letta 0.16.8 on linux/arm64, engine 26.1.5, seconds:",
        "",
        "| check | dev |",
        "| --- | --: |",
        "| agents: an agent answers | 1.3 |",
        "| **passed** | **1 of 1** |",
        "| **all, with start and stop** | **62** |",
    ]


def test_a_program_gets_each_check_with_what_it_ran_on(reports: Path) -> None:
    rows = json.loads(checks.show(str(reports), as_json=True))

    assert [(row["topology"], row["name"], row["outcome"], row["seconds"]) for row in rows] == [
        ("single", "agents: an agent answers", "passed", 1.26),
        ("single", "agents: a|b[x]", "failed", 2.04),
        ("dev", "agents: an agent answers", "passed", 1.26),
        ("dev", "agents: tools", "skipped", 0.0),
        ("dev", "agents: an agent answers", "passed", 1.26),
    ]
    assert {row["platform"] for row in rows} == {"linux/amd64", "linux/arm64"}
    assert {(row["engine"], row["letta"]) for row in rows} == {("26.1.5", "0.16.8")}


def test_what_a_session_is_just_writing_does_not_stop_the_one_that_has_ended(reports: Path) -> None:
    whole = checks.show(str(reports), as_json=False)
    (reports / "unfinished.xml").write_text("<testsuites><testsuite ", encoding="utf-8")

    checks.write(reports)

    assert (reports / "checks.md").read_text() == whole + "\n"
    assert len(json.loads((reports / "checks.json").read_text())) == 5


def test_a_session_that_left_no_report_leaves_an_empty_matrix(tmp_path: Path) -> None:
    checks.write(tmp_path / "reports")

    assert json.loads((tmp_path / "reports/checks.json").read_text()) == []


def test_without_a_report_there_is_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(BadReports, match="no report of a smoke test"):
        checks.show(str(tmp_path), as_json=True)
