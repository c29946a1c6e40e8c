from __future__ import annotations

import inspect

from letta_stack import errors


def every_error() -> list[type[errors.LettaStackError]]:
    return [
        error
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, errors.LettaStackError) and error is not errors.LettaStackError
    ]


def test_every_outcome_has_an_exit_code_of_its_own() -> None:
    codes = [error.exit_code for error in every_error() if "exit_code" in vars(error)]

    assert sorted(set(codes)) == sorted(codes)


def test_no_exit_code_is_one_that_invoke_or_the_shell_uses() -> None:
    taken = {0, 1, 2, 126}

    assert not taken & {error.exit_code for error in every_error()}


def test_a_failed_command_leaves_with_its_own_code_and_shows_its_last_line() -> None:
    error = errors.CommandFailed(["docker", "pull", "a b"], 18, "some noise\nno such image\n")

    assert error.exit_code == 18
    assert str(error) == "`docker pull 'a b'` failed with exit code 18: no such image"
