from __future__ import annotations

import os
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import BadSource, BadValue, VersionsDisagree
from letta_stack.image import debugger
from letta_stack.image.server import LETTA_CONTEXT
from letta_stack.image.sources import Sources
from letta_stack.pins.file import Pins
from letta_stack.topology import source_tree
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose

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
    assert project.variables["LETTA_STACK_USER"] == source_tree.user(source)
    assert rest.letta_source is None


def test_elsewhere_the_tree_is_built_into_the_image(tmp_path: Path) -> None:
    given = Project.of("dev"), sources(tmp_path)

    assert source_tree.mount(*given) == given


def test_hot_needs_a_tree() -> None:
    with pytest.raises(BadValue, match="--env hot needs --letta-source"):
        source_tree.mount(Project.of("hot"), sources(None))


def test_a_tree_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VersionsDisagree, match=r"/pyproject\.toml says Letta 0\.16\.1,"):
        source_tree.mount(Project.of("hot"), sources(tree(tmp_path, "0.16.1")))


def test_any_other_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSource):
        source_tree.mount(Project.of("hot"), sources(tmp_path))


def test_hot_has_a_debugger_on_request_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"
    monkeypatch.setattr(debugger, "prepare", lambda _: made)
    given = Project.of("hot"), sources(tree(tmp_path, Pins.load()["LETTA_VERSION"]))

    without, rest = source_tree.mount(*given)
    with_one, _ = source_tree.mount(*given, debug_port="5678")

    assert source_tree.with_debugger(without, rest) == without
    assert "compose/overlays/debug.yaml" not in overlays(without)
    ready = source_tree.with_debugger(with_one, rest)
    assert ready.variables["LETTA_STACK_DEBUG_PORT"] == "5678"
    assert ready.variables["LETTA_STACK_DEBUGGER"] == str(made)
    assert "compose/overlays/debug.yaml" in overlays(ready)
    assert ready.port_flags["letta-server"] == "--debug-port"


def overlays(project: Project) -> tuple[str, ...]:
    runner = project.runner
    assert isinstance(runner, Compose)
    return tuple(runner.overlays)


@pytest.mark.parametrize("text", ["0", "65536", "debug"])
def test_a_debug_port_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    source = tree(tmp_path, Pins.load()["LETTA_VERSION"])

    with pytest.raises(BadValue, match=r"--debug-port .* is not a port"):
        source_tree.mount(Project.of("hot"), sources(source), debug_port=text)


def test_a_debugger_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="--debug-port: prod has no debugger; use --env hot"):
        source_tree.mount(Project.of("prod"), sources(tmp_path), debug_port="5678")


@pytest.mark.parametrize(
    ("caller", "owner", "runs_as"),
    [
        ((1000, 1001), (0, 0), "1000:1001"),
        ((0, 0), (1000, 1001), "1000:1001"),
        ((0, 0), (0, 0), ""),
        ((1000, 0), (5, 5), ""),
        ((0, 0), (0, 7), ""),
    ],
)
def test_the_server_runs_as_the_caller_or_for_root_as_the_owner_of_the_tree(
    caller: tuple[int, int],
    owner: tuple[int, int],
    runs_as: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Tree(PosixPath):
        def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
            assert follow_symlinks
            return os.stat_result((0, 0, 0, 0, *owner, 0, 0, 0, 0))

    monkeypatch.setattr(os, "getuid", lambda: caller[0])
    monkeypatch.setattr(os, "getgid", lambda: caller[1])

    assert source_tree.user(Tree("/tree")) == runs_as
