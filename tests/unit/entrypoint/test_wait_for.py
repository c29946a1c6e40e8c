"""The wait loop of the container's start."""

from __future__ import annotations

import pytest
from entrypoint.wait import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_it_ends_as_soon_as_the_attempt_has_no_complaint() -> None:
    clock, reasons = Clock(), iter(["refused", "starting", None])

    wait_until(
        lambda: next(reasons), what="Redis", timeout=5, interval=1, clock=clock, sleep=clock.sleep
    )

    assert clock.now == 2


def test_a_timeout_names_what_was_waited_for_and_the_last_reason() -> None:
    clock = Clock()

    with pytest.raises(TimeoutError, match=r"^db:5432 did not answer within 3 s: refused$"):
        wait_until(
            lambda: "refused", what="db:5432", timeout=3, interval=1, clock=clock, sleep=clock.sleep
        )


def test_a_long_wait_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    clock, reasons = Clock(), iter(["refused"] * 25 + [None])

    wait_until(
        lambda: next(reasons), what="db", timeout=None, interval=1, clock=clock, sleep=clock.sleep
    )

    assert capsys.readouterr().err.splitlines() == [
        "letta-stack: waiting for db, 10 s so far: refused",
        "letta-stack: waiting for db, 20 s so far: refused",
    ]
