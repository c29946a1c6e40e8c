from __future__ import annotations

import time

import pytest

from letta_stack.base import progress
from letta_stack.base.progress import Progress


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.02)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.05)


def test_a_log_gets_whole_lines_with_the_detail_and_the_time_so_far(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("starting x", detail=lambda: "y healthy"):
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()

    assert lines[0] == "starting x (0 s so far): y healthy"
    assert lines[-1] == "starting x: done in 0.2 s"


def test_a_detail_that_fails_is_left_out_and_not_the_steps_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> str:
        raise OSError

    with Progress("starting x", detail=broken):
        time.sleep(0.1)

    assert capsys.readouterr().err.startswith("starting x (0 s so far)\n")


def test_a_quick_step_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOG_SECONDS", "QUIET_SECONDS"):
        monkeypatch.setattr(progress, name, 30.0)  # quick, however busy the machine is
    with Progress("starting x"):
        pass

    assert capsys.readouterr().err == ""


def test_a_step_that_failed_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    def fail_slowly() -> None:
        with Progress("starting x"):
            time.sleep(0.1)
            raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        fail_slowly()

    assert "done" not in capsys.readouterr().err
