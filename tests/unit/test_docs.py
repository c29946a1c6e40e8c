from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from letta_stack.base.paths import ROOT
from letta_stack.pins.file import Pins
from letta_stack.topology import dotenv
from letta_stack.topology.catalogue import CLUSTERS, TOPOLOGIES

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.topology.model import Topology

README = (ROOT / "README.md").read_text()


def test_readme_begins_with_the_line_that_runs_and_the_line_that_tests() -> None:
    commands = re.findall(r"(?m)^    (\S.*)$", README)

    assert commands[:2] == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/inv engine up --env single",
        "python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox",
    ]


def test_ci_calls_the_test_command_of_readme() -> None:
    (command,) = [line for line in README.splitlines() if line.strip().endswith("/nox")]

    assert command.strip() in re.split(r"\s*\n\s*", (ROOT / ".ci/run").read_text())


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES.keys())
def test_readme_describes_every_topology_in_the_words_of_the_code(topology: Topology) -> None:
    row = f"| `{topology.name}` | {topology.summary} | `{topology.entry}` |"

    assert row in README.splitlines()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_topology_has_a_page(name: str) -> None:
    assert f"inv up --env {name}" in (ROOT / f"docs/topologies/{name}.md").read_text()


@pytest.mark.parametrize("topology", CLUSTERS.values(), ids=CLUSTERS.keys())
def test_readme_and_a_page_describe_every_topology_of_a_cluster(topology: Topology) -> None:
    assert f"| `{topology.name}` | {topology.summary} |" in README.splitlines()
    page = (ROOT / f"docs/topologies/{topology.name}.md").read_text()
    assert f"inv render --env {topology.name}" in page


def test_readme_names_the_image_that_is_built() -> None:
    assert re.findall(r"letta-stack/letta:(\S+)", README) == [Pins.load()["LETTA_VERSION"]]


def test_the_example_settings_are_valid_with_and_without_their_comment_signs() -> None:
    text = (ROOT / ".env.example").read_text()

    assert list(dotenv.problems(text)) == []
    assert list(dotenv.problems(re.sub(r"(?m)^#(?=[A-Z_]+=)", "", text))) == []


@pytest.mark.parametrize(
    "page",
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")],
    ids=lambda page: page.name,
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())

    missing = [
        target for target in targets if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []


def locked(name: str) -> dict[str, str]:
    text = (ROOT / f"requirements/{name}.txt").read_text()
    return dict(re.findall(r"(?m)^([a-z0-9.-]+)==([^\s;]+)", text))


@pytest.mark.parametrize("name", ["runtime", "lint", "types", "test", "smoke", "image", "nox"])
def test_the_locked_requirements_satisfy_the_ranges_they_were_made_from(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]

    def members(group: str) -> list[Requirement]:
        return [
            requirement
            for entry in groups.get(group, [])
            for requirement in (
                members(entry["include-group"]) if isinstance(entry, dict) else [Requirement(entry)]
            )
        ]

    wanted = members(name)
    if name not in {"lint", "image", "nox"}:
        wanted += map(Requirement, project["project"]["dependencies"])
    versions = locked(name)

    assert wanted
    for requirement in wanted:
        assert requirement.specifier.contains(versions[requirement.name.lower()]), requirement


@pytest.mark.parametrize(
    "path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.stem
)
def test_locked_requirements_are_hashed_and_name_no_download_address(path: Path) -> None:
    text = path.read_text()
    pinned = re.findall(r"(?m)^[a-z0-9.-]+==.*\n(    --hash=sha256:)?", text)

    assert "://" not in text
    assert all(pinned)
