"""A release's notes: which image it is, and what the smoke tests said. They come from the reports of nox's sessions.

A report is pytest's own JUnit XML; ``tests/smoke/conftest.py`` adds the ``Facts``, so that a file says what it is about.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base.paths import REPORTS
from letta_stack.errors import BadReference, BadReports, SmokeTestsFailed
from letta_stack.registry import oci, reference

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = (
    "| topology | platform | engine | passed | failed | skipped | time |",
    "|---|---|---|--:|--:|--:|--:|",
)
AGAIN = "delete it and run its nox session again"


@dataclass(frozen=True)
class Facts:
    """What was tested on what, in a report's properties."""

    topology: str
    platform: str
    engine: str
    letta: str


@dataclass(frozen=True)
class Report:
    """What one session says. The facts are empty if not even the first test was set up."""

    path: Path
    facts: Facts
    tests: int
    failed: int
    skipped: int
    seconds: float

    @property
    def passed(self) -> int:
        """Count what neither failed nor was left out."""
        return self.tests - self.failed - self.skipped


def write(image: str, directory: str) -> str:
    """Return the notes for ``image`` from the reports in ``directory`` (default: where nox leaves them)."""
    reference = check_reference(image)
    return render(reference, collect(Path(directory) if directory else REPORTS))


def check_reference(image: str) -> str:
    """Return the full reference of an image named by digest: a tag may name another one tomorrow."""
    name, _, digest = image.partition("@")
    if oci.DIGEST.fullmatch(digest) is None:
        message = f"--image {image!r} has no digest; give NAME@sha256:..., the digest is what `inv build --push` prints"
        raise BadReference(message)
    (target,) = reference.parse_targets((), [name])
    return f"{target}@{digest}"


def collect(directory: Path) -> list[Report]:
    """Return the reports that a release may be announced with: all there are, or none."""
    reports = [read(path) for path in sorted(directory.glob("*.xml"))]
    if not reports:
        raise BadReports(
            f"no report of a smoke test in {directory}; run `nox -t docker` first, or name another directory with --reports"
        )
    for report in reports:
        check(report)
    versions = sorted({report.facts.letta for report in reports})
    if len(versions) > 1:
        raise BadReports(
            f"the reports in {directory} are about Letta {' and '.join(versions)}; delete the old ones"
        )
    return reports


def read(path: Path) -> Report:
    """Read one JUnit XML file."""
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - what our own sessions wrote
        return parse(root, path)
    except KeyError as error:
        raise BadReports(f"the report {path} has no {error}; {AGAIN}") from error
    except (OSError, ET.ParseError, ValueError) as error:
        raise BadReports(f"cannot read the report {path} ({error}); {AGAIN}") from error


def parse(root: ET.Element, path: Path) -> Report:
    """Take what the notes need out of pytest's one test suite."""
    suite = root.find("testsuite")
    if suite is None:
        raise KeyError("testsuite")
    said = {one.get("name"): one.get("value", "") for one in suite.iterfind("properties/property")}
    return Report(
        path=path,
        facts=Facts(**{field.name: said.get(field.name, "") for field in fields(Facts)}),
        tests=int(suite.attrib["tests"]),
        failed=int(suite.attrib["failures"]) + int(suite.attrib["errors"]),
        skipped=int(suite.attrib["skipped"]),
        seconds=float(suite.attrib["time"]),
    )


def check(report: Report) -> None:
    """Raise if a release should not be announced with this."""
    if report.failed:
        raise SmokeTestsFailed(
            f"{report.path} has {report.failed} failed of {report.tests} tests; repair what they test and run the session again"
        )
    if not report.passed:
        raise SmokeTestsFailed(
            f"{report.path} has no test that ran ({report.skipped} skipped); run the session again without a selection"
        )
    if not all(astuple(report.facts)):
        lacking = [field.name for field in fields(Facts) if not getattr(report.facts, field.name)]
        raise BadReports(f"{report.path} does not say its {', '.join(lacking)}; {AGAIN}")


def render(reference: str, reports: Sequence[Report]) -> str:
    """Return the notes as Markdown."""
    ordered = sorted(reports, key=lambda report: astuple(report.facts))
    return "\n".join(
        [
            f"Image: `{reference}`",
            "",
            f"Smoke tests of Letta {ordered[0].facts.letta}:",
            "",
            *TABLE,
            *map(row, ordered),
        ]
    )


def row(report: Report) -> str:
    """Return a report as a line of the table."""
    facts = report.facts
    return (
        f"| {facts.topology} | {facts.platform} | {facts.engine} "
        f"| {report.passed} | {report.failed} | {report.skipped} | {report.seconds:.0f} s |"
    )
