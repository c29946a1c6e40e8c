"""The view by which a server learns how much disk is free, for data that have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.topology import free_space
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from tests.support.up_steps import running

if TYPE_CHECKING:
    from collections.abc import Callable

Asked = list[tuple[list[str], str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Completed], Asked]:
    def answer(one: Completed) -> Asked:
        seen: Asked = []

        def probe(argv: list[str], *, stdin: str) -> Completed:
            seen.append((argv, stdin))
            return one

        states = [running("letta-server"), running("letta-db")]
        monkeypatch.setattr(Compose, "states", lambda _: states)
        monkeypatch.setattr(process, "probe", probe)
        return seen

    return answer


def test_the_database_gets_the_view_by_standard_input(
    asked: Callable[[Completed], Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = asked(Completed(0, "", ""))

    free_space.teach(Project.of("prod", project="mine"))

    ((argv, sql),) = seen
    assert "mine-letta-db-1" in argv
    assert "VIEW public.letta_stack_disk" in sql
    assert capsys.readouterr().err == ""


def test_a_database_that_cannot_have_it_is_a_warning(
    asked: Callable[[Completed], Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(Completed(3, "", "ERROR: could not open extension control file\n"))

    free_space.teach(Project.of("prod", project="mine"))

    assert capsys.readouterr().err == (
        "warning: mine has no reserve on the database's disk: ERROR: could not open extension control file\n"
    )
