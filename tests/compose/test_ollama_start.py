"""The script that runs Ollama in its container, with a program of that name that only notes how it is called."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from letta_stack.base.paths import ROOT
from letta_stack.base.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START = ROOT / "compose/ollama/start"
OLLAMA = """#!/bin/sh
echo "$@" >>calls
case $1 in
serve)
    trap 'echo stopped >>calls; exit 0' TERM
    touch serves
    while :; do sleep 0.05; done ;;
list) test -f serves ;;
show) test -f "$2" ;;
pull) test ! -f offline && touch "$2" ;;
esac
"""
Started = subprocess.Popen[bytes]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Started]]:
    """Return what starts the script in a directory of its own."""
    program = tmp_path / "ollama"
    program.write_text(OLLAMA)
    program.chmod(0o755)
    started: list[Started] = []

    def run() -> Started:
        path = f"{tmp_path}:{os.environ['PATH']}"
        command = ["/bin/sh", str(START), "tiny"]
        started.append(
            subprocess.Popen(command, cwd=tmp_path, env={"PATH": path}, start_new_session=True)
        )
        return started[-1]

    yield run
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.wait()


def calls(directory: Path) -> list[str]:
    path = directory / "calls"
    return path.read_text().splitlines() if path.is_file() else []


def expect(directory: Path, call: str) -> None:
    wait_until(lambda: call in calls(directory), timeout=20, interval=0.05, describe=call)


def test_a_model_that_is_missing_is_downloaded_once_the_server_answers(
    start: Callable[[], Started], tmp_path: Path
) -> None:
    start()
    expect(tmp_path, "pull tiny")

    seen = calls(tmp_path)
    assert seen.index("list") < seen.index("show tiny") < seen.index("pull tiny")


def test_a_model_that_is_there_is_not_downloaded_and_a_signal_ends_the_server(
    start: Callable[[], Started], tmp_path: Path
) -> None:
    (tmp_path / "tiny").touch()
    running = start()
    expect(tmp_path, "show tiny")

    running.terminate()

    assert running.wait(timeout=20) == 0
    assert calls(tmp_path)[-1] == "stopped"
    assert "pull tiny" not in calls(tmp_path)


def test_a_model_that_cannot_be_had_ends_the_container(
    start: Callable[[], Started], tmp_path: Path
) -> None:
    (tmp_path / "offline").touch()

    assert start().wait(timeout=20) != 0
