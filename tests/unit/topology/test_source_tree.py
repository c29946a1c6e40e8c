from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import BadSource, BadValue, VersionsDisagree
from letta_stack.image.server import LETTA_CONTEXT
from letta_stack.image.sources import Sources
from letta_stack.pins.file import Pins
from letta_stack.topology import source_tree
from letta_stack.topology.project import Project

if TYPE_CHECKING:
    from pathlib import Path


def tree(directory: Path, version: str) -> Path:
    for name in LETTA_CONTEXT:
        (directory / name).touch()
    (directory / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
    return directory


def sources(letta_source: Path | None) -> Sources:
    return Sources(images="auto", otelcol="auto", letta_source=letta_source, ca=None)


def test_hot_mounts_the_tree_and_builds_the_image_without_it(tmp_path: Path) -> None:
    source = tree(tmp_path, Pins.load()["LETTA_VERSION"])

    project, rest = source_tree.mount(Project.of("hot"), sources(source))

    assert project.variables["LETTA_STACK_SOURCE"] == str(source)
    assert rest.letta_source is None


def test_elsewhere_the_tree_is_built_into_the_image(tmp_path: Path) -> None:
    given = Project.of("dev"), sources(tmp_path)

    assert source_tree.mount(*given) == given


def test_hot_needs_a_tree() -> None:
    with pytest.raises(BadValue, match="--env hot needs --letta-source"):
        source_tree.mount(Project.of("hot"), sources(None))


def test_a_tree_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VersionsDisagree, match=r"says Letta 0\.16\.1"):
        source_tree.mount(Project.of("hot"), sources(tree(tmp_path, "0.16.1")))


def test_any_other_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSource):
        source_tree.mount(Project.of("hot"), sources(tmp_path))
