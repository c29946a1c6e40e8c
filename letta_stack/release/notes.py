"""A release's notes: which image it is, and what the smoke tests said. They come from the reports of nox's sessions."""

from __future__ import annotations

from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base.paths import REPORTS
from letta_stack.errors import BadReference, BadReports, SmokeTestsFailed
from letta_stack.registry import oci, reference
from letta_stack.release.reports import AGAIN, Facts, read_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.release.reports import Report

TABLE = (
    "| topology | platform | engine | passed | failed | skipped | time |",
    "|---|---|---|--:|--:|--:|--:|",
)


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
    reports = read_all(directory)
    for report in reports:
        check(report)
    versions = sorted({report.facts.letta for report in reports})
    if len(versions) > 1:
        raise BadReports(
            f"the reports in {directory} are about Letta {' and '.join(versions)}; delete the old ones"
        )
    return reports


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
