"""How `inv` leaves: after Ctrl-C, and after a command that it has passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ended

    Inv = Callable[..., Ended]
    Intercept = Callable[..., list[dict[str, Any]]]


def test_an_interrupt_is_one_line_that_says_how_to_go_on(
    inv: Inv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("letta_stack.engine.install.ensure", interrupt)
    ended = inv("engine")

    assert (ended.code, ended.stdout) == (130, "")
    assert ended.stderr == "error: interrupted; run `inv engine` again to go on\n"


@pytest.mark.parametrize(
    ("place", "arguments"),
    [
        ("letta_stack.topology.lifecycle:ps", ["ps"]),
        ("letta_stack.topology.lifecycle:logs", ["logs"]),
        ("letta_stack.topology.lifecycle:config", ["config"]),
        ("letta_stack.topology.lifecycle:execute", ["exec", "--", "sh", "-c", "kill -9 $$"]),
        ("letta_stack.base.process:call", ["wait", "http://a/", "--", "sh"]),
    ],
    ids=lambda one: one[0] if isinstance(one, list) else "",
)
@pytest.mark.parametrize("codes", [(-9, 137), (-2, 130), (137, 137), (0, 0)])
def test_a_command_that_a_signal_ended_leaves_as_in_a_shell(
    place: str, arguments: list[str], codes: tuple[int, int], inv: Inv, intercept: Intercept
) -> None:
    intercept("letta_stack.base.http_wait:wait_for_status", 1.0)
    ended, expected = codes
    intercept(place, ended)

    assert inv(*arguments).code == expected


def test_wait_without_a_command_starts_none(inv: Inv, intercept: Intercept) -> None:
    intercept("letta_stack.base.http_wait:wait_for_status", 1.0)
    commands = intercept("letta_stack.base.process:call", 0)

    assert inv("wait", "http://a/").code == 0
    assert commands == []
