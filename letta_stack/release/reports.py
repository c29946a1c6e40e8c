"""What nox's smoke sessions said: the one reader of their reports.

A report is pytest's own JUnit XML; ``tests/smoke/conftest.py`` adds the ``Facts``, so that a file says what it is about.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from letta_stack.errors import BadReports

if TYPE_CHECKING:
    from pathlib import Path

AGAIN = "delete it and run its nox session again"
PASSED = "passed"
OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}
"""A test's outcome, by the element inside its own; none is ``PASSED``."""


@dataclass(frozen=True)
class Facts:
    """What was tested on what, in a report's properties."""

    topology: str
    platform: str
    engine: str
    letta: str


@dataclass(frozen=True)
class Case:
    """One test: its module and name without the topology, how it ended, and how long it took in seconds."""

    name: str
    outcome: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """What one session says. The facts are empty if not even the first test was set up."""

    path: Path
    facts: Facts
    tests: int
    failed: int
    skipped: int
    seconds: float
    cases: tuple[Case, ...]

    @property
    def passed(self) -> int:
        """Count what neither failed nor was left out."""
        return self.tests - self.failed - self.skipped


def read_all(directory: Path) -> list[Report]:
    """Return the reports in ``directory`` by name; raise ``BadReports`` if there is none, or one cannot be read."""
    reports = [read(path) for path in sorted(directory.glob("*.xml"))]
    if not reports:
        raise BadReports(
            f"no report of a smoke test in {directory}; run `nox -t docker` first, or name another directory with --reports"
        )
    return reports


def read(path: Path) -> Report:
    """Read one JUnit XML file; raise ``BadReports``."""
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - what our own sessions wrote
        return parse(root, path)
    except KeyError as error:
        raise BadReports(f"the report {path} has no {error}; {AGAIN}") from error
    except (OSError, ET.ParseError, ValueError) as error:
        raise BadReports(f"cannot read the report {path} ({error}); {AGAIN}") from error


def parse(root: ET.Element, path: Path) -> Report:
    """Take what is needed out of pytest's one test suite; raise ``KeyError`` or ``ValueError``."""
    suite = root.find("testsuite")
    if suite is None:
        raise KeyError("testsuite")
    said = {one.get("name"): one.get("value", "") for one in suite.iterfind("properties/property")}
    facts = Facts(**{field.name: said.get(field.name, "") for field in fields(Facts)})
    return Report(
        path=path,
        facts=facts,
        tests=int(suite.attrib["tests"]),
        failed=int(suite.attrib["failures"]) + int(suite.attrib["errors"]),
        skipped=int(suite.attrib["skipped"]),
        seconds=float(suite.attrib["time"]),
        cases=tuple(_case(element, facts.topology) for element in suite.iterfind("testcase")),
    )


def _case(element: ET.Element, topology: str) -> Case:
    outcome = next((OUTCOMES[child.tag] for child in element if child.tag in OUTCOMES), PASSED)
    module = element.attrib["classname"].rpartition(".")[2].removeprefix("test_")
    test, bracket, rest = element.attrib["name"].partition("[")
    # The topology is a column of every table already.
    others = [one for one in rest.removesuffix("]").split("-") if one != topology]
    parameters = f"[{'-'.join(others)}]" if bracket and others else ""
    name = f"{module}: {test.removeprefix('test_').replace('_', ' ')}{parameters}"
    return Case(name, outcome, float(element.attrib["time"]))
