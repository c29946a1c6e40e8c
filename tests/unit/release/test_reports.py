"""What is read out of a session's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.release.reports import Facts, read

if TYPE_CHECKING:
    from pathlib import Path


def write(directory: Path, content: str, properties: str = "") -> Path:
    counts = 'tests="20" failures="3" errors="4" skipped="5" time="1.5"'
    path = directory / "one.xml"
    path.write_text(
        f"<testsuites><testsuite {counts}><properties>{properties}</properties>{content}"
        "</testsuite></testsuites>"
    )
    return path


def test_a_report_keeps_its_numbers_apart(tmp_path: Path) -> None:
    report = read(write(tmp_path, ""))

    assert (report.tests, report.failed, report.skipped, report.seconds) == (20, 7, 5, 1.5)
    assert (report.passed, report.cases) == (8, ())


def test_facts_that_are_not_said_are_empty(tmp_path: Path) -> None:
    said = '<property name="topology" value="dev" /><property name="engine" /><property />'

    assert read(write(tmp_path, "", said)).facts == Facts("dev", "", "", "")


@pytest.mark.parametrize(
    ("inside", "outcome"),
    [
        ("", "passed"),
        ("<system-out>x</system-out>", "passed"),
        ("<failure />", "failed"),
        ("<error />", "failed"),
        ("<system-err /><error />", "failed"),
        ("<skipped />", "skipped"),
    ],
)
def test_the_outcome_of_a_test(inside: str, outcome: str, tmp_path: Path) -> None:
    case = f'<testcase classname="tests.smoke.test_x" name="test_a" time="2">{inside}</testcase>'

    (found,) = read(write(tmp_path, case)).cases

    assert (found.name, found.outcome, found.seconds) == ("x: a", outcome, 2.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_an_agent_answers[dev]", "x: an agent answers"),
        ("test_an_agent_answers[dev-two]", "x: an agent answers[two]"),
        ("test_an_agent_answers[one-dev-two]", "x: an agent answers[one-two]"),
        ("test_an_agent_answers", "x: an agent answers"),
    ],
)
def test_a_test_is_named_without_its_topology(name: str, expected: str, tmp_path: Path) -> None:
    case = f'<testcase classname="tests.smoke.test_x" name="{name}" time="2" />'
    topology = '<property name="topology" value="dev" />'

    (found,) = read(write(tmp_path, case, topology)).cases

    assert found.name == expected
