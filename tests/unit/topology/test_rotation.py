"""A rotation that is killed at any point and called again: nobody is locked out meanwhile, and the end is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.topology import rotation
from tests.support.rotated import PROD, REPLICAS, ROTATED, Engine, Killed, assert_rotated

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ROTATED)
def test_a_rotation_ends_with_the_new_value_everywhere_and_the_old_one_nowhere(
    engine: Engine, name: str
) -> None:
    before = engine.files.read(name)

    rotation.rotate(PROD, name)

    assert_rotated(engine, name, before)


@pytest.mark.parametrize("name", ROTATED)
@pytest.mark.parametrize("moment", ["kill_before", "kill_after"])
@pytest.mark.parametrize("call", range(1, 7))
def test_killed_between_two_commands_it_locks_nobody_out_and_can_be_finished(
    engine: Engine, name: str, moment: str, call: int
) -> None:
    before = engine.files.read(name)
    setattr(engine, moment, call)
    try:
        rotation.rotate(PROD, name)
    except Killed:
        assert engine.locked_out() == []
        # A server that starts just now reads what is there.
        engine.execute(["docker", "restart", REPLICAS[0]], "")
        assert engine.locked_out() == []
        engine.files.ensure(data="mine_db")

        rotation.rotate(PROD, name)

    assert_rotated(engine, name, before)


@pytest.mark.parametrize("name", ROTATED)
@pytest.mark.parametrize("number", range(1, 6))
def test_killed_before_any_change_of_a_file_it_can_be_finished(
    engine: Engine, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = engine.files.read(name)
    renames, armed = 0, True
    rename = type(engine.files.directory).rename

    def killing(path: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if armed and renames == number:
            raise Killed
        return rename(path, target)

    monkeypatch.setattr(type(engine.files.directory), "rename", killing)
    try:
        rotation.rotate(PROD, name)
    except Killed:
        assert engine.locked_out() == []
        rotation.rotate(PROD, name)
    armed = False

    assert_rotated(engine, name, before)
