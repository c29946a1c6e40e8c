"""Runbooks end in commands, and each is one that `inv` takes."""

from __future__ import annotations

import re
import shlex

import pytest
from invoke.parser import Parser

import tasks
from letta_stack.base.paths import ROOT

COMMANDS = sorted(
    {
        line.strip()
        for page in (ROOT / "docs/runbooks").glob("*.md")
        for line in re.findall(r"(?m)^    (inv .*)$", page.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_runbook_can_be_run(command: str) -> None:
    words, _, _ = command.partition(" -- ")

    (called,) = Parser(contexts=tasks.ns.to_contexts()).parse_argv(shlex.split(words)[1:])

    assert not called.missing_positional_args
