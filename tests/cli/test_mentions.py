"""What workflows and pages tell people to type is something that `inv` takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import tasks
from letta_stack.base.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PLACES = [
    *ROOT.glob(".github/**/*.yml"),
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("bench/*.md"),
]
# `inv TASK` up to what ends a command in a shell or on a page, with the lines that a backslash continues.
COMMAND = re.compile(r"\binv (?P<task>[a-z][\w.-]*)(?P<rest>(?:\\\n|[^\n`;|&#()>])*)")
FLAG = re.compile(r"(?<!\S)--[a-z][a-z-]*")
# The history of names is told as it was.
HISTORY = {ROOT / "CHANGELOG.md"}


def flags_of(task: str) -> set[str]:
    return {
        f"--{argument.name.strip('_').replace('_', '-')}"
        for argument in tasks.ns[task].get_arguments()
    } | {"--help"}


def problems(text: str) -> list[str]:
    found = []
    for match in COMMAND.finditer(text):
        task = match["task"].rstrip(".")
        mine = match["rest"].partition(" -- ")[0]
        if task not in tasks.ns.task_names:
            found.append(f"inv {task} is not a task")
        else:
            # One call may run several tasks: inv engine up --env single
            others = set(mine.split()) & set(tasks.ns.task_names)
            known = set().union(*map(flags_of, {task, *others}))
            found += [
                f"inv {task} has no {flag}" for flag in FLAG.findall(mine) if flag not in known
            ]
    return found


@pytest.mark.parametrize(
    "path", sorted({*PLACES} - HISTORY), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_command_on_a_page_is_one_that_inv_takes(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8")) == []


def test_a_command_that_inv_does_not_take_is_found() -> None:
    text = "`inv up --env x --moon` and inv fly --high; inv exec -- id --user \\\n  --more"

    assert problems(text) == ["inv up has no --moon", "inv fly is not a task"]
    assert problems("inv ps \\\n  --volumes") == ["inv ps has no --volumes"]
