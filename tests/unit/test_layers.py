"""The order of the packages: one imports only what stands above it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from letta_stack.base.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYERS = (
    "errors",
    "base",
    "registry",
    "engine",
    "pins",
    "secrets",
    "image",
    "certs",
    "policy",
    "topology",
    "telemetry",
    "release",
    "operate",
    "cli",
)
PACKAGE = ROOT / "letta_stack"


def imported(path: Path) -> Iterator[str]:
    """Yield the first part of every import of this project, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("letta_stack."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "letta_stack":
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                one.name.split(".")[1] for one in node.names if one.name.startswith("letta_stack.")
            )


def test_every_package_has_its_place() -> None:
    there = {
        one.stem for one in PACKAGE.iterdir() if one.name not in {"__init__.py", "__pycache__"}
    }

    assert there == set(LAYERS)


def test_a_package_imports_only_what_stands_above_it() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for layer in LAYERS
        for path in sorted([*(PACKAGE / layer).rglob("*.py"), *PACKAGE.glob(f"{layer}.py")])
        for name in imported(path)
        if LAYERS.index(name) > LAYERS.index(layer)
    ]

    assert wrong == []


def test_packages_hand_nothing_on() -> None:
    files = [path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]

    assert [path for path in files if list(imported(path))] == []
