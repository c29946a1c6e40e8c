"""How often and after which pauses a request is sent again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import RegistryUnreachable
from letta_stack.registry.retries import Retries, RetryPolicy, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    Try = Callable[..., tuple[list[float], list[str]]]


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Try:
    """Give what plays failures and then a success; it returns the pauses and what was said."""

    def play(*failures: Exception, **limits: Any) -> tuple[list[float], list[str]]:
        pauses: list[float] = []
        lines: list[str] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        left = list(failures)

        def action() -> str:
            if left:
                raise left.pop(0)
            return "done"

        retry = Retries("registry.example", RetryPolicy(**limits), lines.append)
        assert retry(action) == "done"
        assert not left
        return pauses, lines

    return play


def test_the_usual_pauses_bridge_half_a_minute(attempt: Try) -> None:
    pauses, _ = attempt(*[TransientError("503")] * 5)

    assert 31 <= sum(pauses) < 36
    with pytest.raises(RegistryUnreachable, match=r"\(503\); when it is back"):
        attempt(*[TransientError("503")] * 6)


def test_pauses_double_up_to_the_longest_and_are_never_in_step(attempt: Try) -> None:
    pauses, _ = attempt(*[TransientError("x")] * 4, attempts=5, first_wait=1.0, longest_wait=4.0)

    for pause, least in zip(pauses, (1, 2, 4, 4), strict=True):
        assert least < pause < least + 1


def test_each_pause_is_announced_with_its_reason(attempt: Try) -> None:
    _, lines = attempt(TransientError("429 slow", 5.0), TransientError("502", 0.0), attempts=3)

    assert lines == [
        "registry.example: 429 slow; again in 5.0 s (1 of 2)",
        "registry.example: 502; again in 0.0 s (2 of 2)",
    ]


def test_what_the_registry_asks_for_is_waited_for_and_no_more(attempt: Try) -> None:
    assert attempt(TransientError("429", 120.0))[0] == [120.0]
    with pytest.raises(RegistryUnreachable, match=r"\(429, asks to wait 121 s\)"):
        attempt(TransientError("429", 121.0))
    # Nothing is asked for here, so that the limit says nothing.
    assert len(attempt(TransientError("503"), first_wait=0.0, longest_retry_after=0.0)[0]) == 1


def test_a_pause_of_no_length_is_no_reason_to_give_up(attempt: Try) -> None:
    with pytest.raises(RegistryUnreachable, match=r"answer \(503\);"):
        attempt(TransientError("503", 0.0), attempts=1)


def test_what_is_certain_is_not_tried_again(attempt: Try) -> None:
    with pytest.raises(ValueError, match="no"):
        attempt(ValueError("no"))
