"""Every flag of every task arrives where it is meant to, through Invoke's own parser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import tasks
from tests.cli.conftest import at
from tests.cli.wiring import TABLE, Wire, Wiring

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ended

MODES = {
    "--json",
    "--sarif",
    "--push",
    "--check-reproducible",
}  # chosen in the table by ``Wiring.base``
TESTED_BELOW = {"pins"}

each_flag = pytest.mark.parametrize(
    ("wiring", "wire"),
    [
        pytest.param(wiring, wire, id=f"{wiring.name} {wire.flag}")
        for wiring in TABLE
        for wire in wiring.wires
    ],
)
each_mode = pytest.mark.parametrize("wiring", TABLE, ids=[one.name for one in TABLE])


def test_no_flag_of_any_task_is_missing_from_the_table() -> None:
    there = {
        name: {flag for flag in task_flags(name) if flag not in MODES}
        for name in tasks.ns.task_names
        if name not in TESTED_BELOW
    }
    tested: dict[str, set[str]] = {}
    for wiring in TABLE:
        chosen = {one for one in wiring.base if one in there[wiring.task]}
        tested.setdefault(wiring.task, set()).update(chosen, (one.flag for one in wiring.wires))

    assert tested == there


def task_flags(name: str) -> set[str]:
    return {
        f"--{argument.name.strip('_').replace('_', '-')}"
        for argument in tasks.ns[name].get_arguments()
    }


@each_flag
def test_a_flag_arrives(
    wiring: Wiring,
    wire: Wire,
    inv: Callable[..., Ended],
    intercept: Callable[..., list[dict[str, Any]]],
) -> None:
    for place, answer in wiring.also.items():
        intercept(place, answer)
    calls = intercept(wiring.ends_in, wiring.answer)
    # What a positional argument gives is given by its flag instead.
    positional = [
        one for one in wiring.base if one.startswith("--") or wire.default not in (one, [one])
    ]

    inv(wiring.task, *wiring.base, *wiring.trailing)
    inv(wiring.task, *positional, *wire.typed, *wiring.trailing)

    assert [at(call, wire.path) for call in calls] == [wire.default, wire.value]


@pytest.mark.parametrize(
    ("wiring", "wire"),
    [
        pytest.param(wiring, wire, id=f"{wiring.name} {wire.flag}")
        for wiring in TABLE
        for wire in wiring.wires
        if isinstance(wire.value, int | float) and wire.given is not None
    ],
)
def test_a_number_that_is_none_is_refused_by_the_name_of_its_flag(
    wiring: Wiring,
    wire: Wire,
    inv: Callable[..., Ended],
    intercept: Callable[..., list[dict[str, Any]]],
) -> None:
    for place, answer in wiring.also.items():
        intercept(place, answer)
    calls = intercept(wiring.ends_in, wiring.answer)

    ended = inv(wiring.task, *wiring.base, wire.flag, "many", *wiring.trailing)

    assert (ended.code, calls) == (4, [])
    assert f"{wire.flag} " in ended.stderr
    assert "'many'" in ended.stderr


@each_mode
def test_what_no_flag_changes(
    wiring: Wiring, inv: Callable[..., Ended], intercept: Callable[..., list[dict[str, Any]]]
) -> None:
    for place, answer in wiring.also.items():
        intercept(place, answer)
    calls = intercept(wiring.ends_in, wiring.answer)

    ended = inv(wiring.task, *wiring.base, *wiring.trailing)

    (call,) = calls
    seen = call | {"code": ended.code, "stdout": ended.stdout, "stderr": ended.stderr}
    expected = {"code": 0, "stdout": ""} | wiring.fixed
    assert {path: at(seen, path) for path in expected} == expected


@each_mode
def test_invokes_own_dry_run_is_refused_and_nothing_is_called(
    wiring: Wiring, inv: Callable[..., Ended], intercept: Callable[..., list[dict[str, Any]]]
) -> None:
    for place, answer in wiring.also.items():
        intercept(place, answer)
    calls = intercept(wiring.ends_in, wiring.answer)

    ended = inv("-R", wiring.task, *wiring.base, *wiring.trailing)

    assert (ended.code, ended.stdout, calls) == (4, "", [])
    assert ended.stderr == "error: -R (--dry) is not supported; use the task's own --dry-run\n"


def test_a_dry_down_deletes_nothing(
    inv: Callable[..., Ended], intercept: Callable[..., list[dict[str, Any]]]
) -> None:
    calls = intercept("letta_stack.topology.lifecycle:down")

    ended = inv("-R", "down", "--volumes", "--yes")

    assert (ended.code, calls) == (4, [])
    assert "--dry-run" in ended.stderr
