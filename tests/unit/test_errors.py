"""Exit codes: the classes on both sides, their ranges, and the page that a user reads."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import pytest
from entrypoint import errors as container_errors

from letta_stack import errors
from letta_stack.base.paths import ROOT

if TYPE_CHECKING:
    from types import ModuleType

    Error = type[errors.LettaStackError | container_errors.StartError]

CONTAINER = "the container's own start"
PAGE = (ROOT / "docs/exit-codes.md").read_text()


def with_own_code(module: ModuleType) -> list[Error]:
    return [
        one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, (errors.LettaStackError, container_errors.StartError))
        and "exit_code" in vars(one)
    ]


HOST = with_own_code(errors)
IMAGE = with_own_code(container_errors)


def ranges() -> dict[str, range]:
    rows = re.findall(r"(?m)^(\d+)(?:-(\d+))? +(\S.*)$", errors.__doc__ or "")
    return {what: range(int(first), int(last or first) + 1) for first, last, what in rows}


def test_the_ranges_do_not_overlap_and_leave_the_shells_codes_alone() -> None:
    numbers = [code for codes in ranges().values() for code in codes]

    assert len(ranges()) > 10
    assert len(set(numbers)) == len(numbers)
    assert not {0, 1, 2, *range(124, 130), *range(131, 193)} & set(numbers)


def test_every_outcome_has_an_exit_code_of_its_own() -> None:
    codes = [error.exit_code for error in HOST + IMAGE]

    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("error", HOST + IMAGE, ids=lambda error: error.__name__)
def test_a_code_is_in_a_range_of_its_side(error: Error) -> None:
    (what,) = [what for what, codes in ranges().items() if error.exit_code in codes]

    assert (what == CONTAINER) == (error in IMAGE)


def test_the_page_lists_every_range_that_is_in_use_and_every_class() -> None:
    expected = []
    for what, codes in ranges().items():
        mine = sorted(
            (error for error in HOST + IMAGE if error.exit_code in codes),
            key=lambda error: error.exit_code,
        )
        if mine:
            numbers = f"{codes[0]}-{codes[-1]}" if len(codes) > 1 else f"{codes[0]}"
            expected.append(f"## {numbers}: {what.replace('``', '`')}")
            expected += [
                f"| {error.exit_code} | `{error.__name__}` | {meaning(error)} |" for error in mine
            ]

    listed = [line for line in PAGE.splitlines() if re.match(r"## |\| \d", line)]

    assert listed == expected


def meaning(error: Error) -> str:
    return (error.__doc__ or "").splitlines()[0].replace("``", "`")


def test_a_failed_command_leaves_with_its_own_code_and_shows_its_last_line() -> None:
    error = errors.CommandFailed(["docker", "pull", "a b"], 18, "some noise\nno such image\n")

    assert error.exit_code == 18
    assert str(error) == "`docker pull 'a b'` failed with exit code 18: no such image"
