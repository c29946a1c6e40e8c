from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import pytest

from letta_stack.base.paths import REPORTS, ROOT
from letta_stack.errors import BadReference, BadReports, SmokeTestsFailed
from letta_stack.release import notes
from letta_stack.release.reports import Facts

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = f"sha256:{'ab' * 32}"
FACTS = Facts("single", "linux/amd64", "26.1.5+dfsg1", "0.16.8")


def xml(facts: Facts | None = FACTS, **counts: str) -> str:
    """What pytest 9 writes, with xunit2."""
    attributes = {"errors": "0", "failures": "0", "skipped": "0", "tests": "3", "time": "61.5"}
    listed = " ".join(f'{name}="{value}"' for name, value in (attributes | counts).items())
    properties = "".join(
        f'<property name="{name}" value="{value}" />'
        for name, value in (asdict(facts) if facts else {}).items()
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">'
        f'<testsuite name="pytest" {listed} timestamp="2026-11-24T04:46:31+00:00" hostname="vm">'
        f"<properties>{properties}</properties>"
        '<testcase classname="tests.smoke.test_image" name="test_a" time="0.004" />'
        "</testsuite></testsuites>"
    )


def reports(directory: Path, *texts: str) -> Path:
    for number, text in enumerate(texts):
        (directory / f"{number}.xml").write_text(text, encoding="utf-8")
    return directory


def test_notes_name_the_image_and_sort_what_was_tested(tmp_path: Path) -> None:
    arm64 = "linux/arm64"
    reports(
        tmp_path,
        xml(Facts("single", arm64, "28.5.1", "0.16.8"), tests="41", time="300.49"),
        xml(Facts("single, start only", f"{arm64}, emulated", "28.5.1", "0.16.8"), tests="1"),
        xml(FACTS, tests="43", skipped="2"),
        xml(Facts("dev", arm64, "28.5.1", "0.16.8"), tests="30"),
    )
    (tmp_path / "notes.md").write_text("not a report")

    assert notes.write(f"ghcr.io/me/letta@{DIGEST}", str(tmp_path)).splitlines() == [
        f"Image: `ghcr.io/me/letta@{DIGEST}`",
        "",
        "Smoke tests of Letta 0.16.8:",
        "",
        "| topology | platform | engine | passed | failed | skipped | time |",
        "|---|---|---|--:|--:|--:|--:|",
        "| dev | linux/arm64 | 28.5.1 | 30 | 0 | 0 | 62 s |",
        "| single | linux/amd64 | 26.1.5+dfsg1 | 41 | 0 | 2 | 62 s |",
        "| single | linux/arm64 | 28.5.1 | 41 | 0 | 0 | 300 s |",
        "| single, start only | linux/arm64, emulated | 28.5.1 | 1 | 0 | 0 | 62 s |",
    ]


def test_git_ignores_and_ci_collects_what_the_sessions_leave() -> None:
    name = REPORTS.relative_to(ROOT)
    workflows = ROOT / ".github/workflows"

    assert f"/{name}/" in (ROOT / ".gitignore").read_text().splitlines()
    assert f"path: {name}/\n" in (workflows / "ci.yml").read_text()
    assert f"path: {name}\n" in (workflows / "release.yml").read_text()


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    texts = [xml(), xml(Facts("dev", "linux/amd64", "28.5.1", "0.16.8"))]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = reports(tmp_path / "one", *texts), reports(tmp_path / "two", *reversed(texts))
    image = f"me/letta@{DIGEST}"

    assert notes.write(image, str(one)) == notes.write(image, str(two))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (xml(failures="1"), "has 1 failed of 3 tests"),
        (xml(errors="2"), "has 2 failed of 3 tests"),
        # The engine did not answer, so that the fixture that says what is tested failed first.
        (xml(None, errors="3"), "has 3 failed of 3 tests"),
        (xml(None, tests="0"), r"has no test that ran \(0 skipped\)"),
        (xml(tests="3", skipped="3"), r"has no test that ran \(3 skipped\)"),
    ],
    ids=["failed", "error", "no engine", "empty", "all skipped"],
)
def test_a_release_is_not_announced_with_tests_that_did_not_pass(
    tmp_path: Path, text: str, says: str
) -> None:
    reports(tmp_path, xml(), text)

    with pytest.raises(SmokeTestsFailed, match=rf"1\.xml {says}"):
        notes.collect(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot read the report .*no element found"),
        (xml()[:-5], "cannot read the report .*unclosed token"),
        ("<testsuites />", "has no 'testsuite'"),
        (xml(tests="many"), "invalid literal.*many"),
        ('<testsuites><testsuite tests="1" /></testsuites>', "has no 'failures'"),
        (xml(Facts("single", "", "", "0.16.8")), "does not say its platform, engine"),
        (xml(None), f"does not say its {', '.join(field.name for field in fields(Facts))}"),
    ],
    ids=["nothing", "cut off", "no suite", "no number", "no count", "facts lacking", "no facts"],
)
def test_a_report_that_says_too_little_is_named_with_what_to_do(
    tmp_path: Path, text: str, says: str
) -> None:
    reports(tmp_path, text)

    with pytest.raises(BadReports, match=says) as raised:
        notes.collect(tmp_path)
    assert str(tmp_path / "0.xml") in str(raised.value)
    assert str(raised.value).endswith("delete it and run its nox session again")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_text_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "0.xml").write_bytes(b"\x00\xff\xfe")

    with pytest.raises(BadReports, match=r"cannot read the report .*0\.xml"):
        notes.collect(tmp_path)


@pytest.mark.parametrize("name", ["", "missing"])
def test_without_reports_there_are_no_notes(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadReports, match=r"no report of a smoke test in .* run `nox -t docker`"):
        notes.collect(tmp_path / name)


def test_reports_of_two_versions_do_not_make_one_table(tmp_path: Path) -> None:
    reports(tmp_path, xml(), xml(Facts("dev", "linux/amd64", "28.5.1", "0.16.7")))

    with pytest.raises(BadReports, match=r"Letta 0\.16\.7 and 0\.16\.8; delete the old ones"):
        notes.collect(tmp_path)


def test_what_is_not_named_by_a_registry_is_on_docker_hub() -> None:
    assert notes.check_reference(f"me/letta@{DIGEST}") == f"docker.io/me/letta@{DIGEST}"


@pytest.mark.parametrize(
    "image",
    [
        "ghcr.io/me/letta",
        "ghcr.io/me/letta:0.16.8",
        "ghcr.io/me/letta@",
        f"ghcr.io/me/letta@{DIGEST[:-1]}",
        f"ghcr.io/me/letta@{DIGEST} ",
        f"ghcr.io/Me/letta@{DIGEST}",
        f"ghcr.io/me/letta:0.16.8@{DIGEST}",
        DIGEST,
        "",
    ],
)
def test_an_image_is_named_by_digest_or_not_at_all(image: str) -> None:
    with pytest.raises(BadReference):
        notes.check_reference(image)


def test_reports_are_read_from_where_the_sessions_leave_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "REPORTS", reports(tmp_path, xml()))

    assert "| single | linux/amd64 |" in notes.write(f"ghcr.io/me/letta@{DIGEST}", "")
