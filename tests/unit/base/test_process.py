from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.errors import CommandFailed, CommandNotFound

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("real_processes")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_capture_returns_stdout_and_feeds_stdin() -> None:
    code = "import sys; print(sys.stdin.read().upper(), end='')"

    assert process.capture(python(code), stdin="text") == "TEXT"


def test_variables_are_added_to_the_environment_and_do_not_replace_it() -> None:
    code = "import os; print(os.environ['ONE'], 'PATH' in os.environ)"

    assert process.capture(python(code), env={"ONE": "1"}) == "1 True\n"


def test_capture_raises_with_the_exit_code_and_stderr_of_the_command() -> None:
    with pytest.raises(CommandFailed) as raised:
        process.capture(python("import sys; sys.exit('broken')"))

    assert raised.value.exit_code == 1
    assert raised.value.stderr == "broken\n"


def test_probe_reports_a_failure_instead_of_raising() -> None:
    completed = process.probe(python("raise SystemExit(7)"))

    assert (completed.exit_code, completed.ok) == (7, False)


def test_run_shows_command_and_output_on_stderr_and_keeps_stdout_free(
    capfd: pytest.CaptureFixture[str],
) -> None:
    process.run(python("print('out')"))
    captured = capfd.readouterr()

    assert captured.out == ""
    assert captured.err.startswith("+ ")
    assert captured.err.endswith("\nout\n")


def test_call_leaves_the_streams_of_the_command_alone(capfd: pytest.CaptureFixture[str]) -> None:
    exit_code = process.call(
        python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    )

    assert (exit_code, *capfd.readouterr()) == (3, "out\n", "err\n")


@pytest.mark.parametrize("start", [process.run, process.capture])
def test_a_missing_program_is_named(start: object) -> None:
    assert callable(start)
    with pytest.raises(CommandNotFound, match="no-such-program is not installed") as raised:
        start(["no-such-program"])

    assert raised.value.exit_code == 127


def test_probe_turns_a_missing_program_into_127() -> None:
    assert process.probe(["no-such-program"]).exit_code == 127


def test_a_command_that_takes_too_long_is_ended() -> None:
    started = time.monotonic()
    completed = process.probe(python("import time; time.sleep(30)"), timeout=0.3)

    assert completed.exit_code == process.EXIT_TIMEOUT
    assert time.monotonic() - started < 10


def test_spawn_leaves_a_daemon_that_writes_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    process.spawn(python("import os; print(os.getsid(0) == os.getpid())"), log=log)
    deadline = time.monotonic() + 10
    while not log.read_text().endswith("\n") and time.monotonic() < deadline:
        time.sleep(0.02)

    assert log.read_text() == "True\n"


@pytest.mark.parametrize("group", [True, False], ids=["terminal", "only us"])
def test_an_interrupt_lets_the_child_undo_what_it_began(group: bool, tmp_path: Path) -> None:
    """As Ctrl-C does (to the whole process group), and as a CI system does (to one process)."""
    undone = tmp_path / "undone"
    child = (
        "import pathlib, time\n"
        "try:\n    print('begun', flush=True); time.sleep(30)\n"
        f"except KeyboardInterrupt:\n    pathlib.Path({str(undone)!r}).touch()"
    )
    parent = f"from letta_stack.base import process; process.call({python(child)!r})"
    with subprocess.Popen(
        python(parent),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"begun\n"
        (os.killpg if group else os.kill)(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=20)

    assert undone.exists()
    assert b"KeyboardInterrupt" in errors
