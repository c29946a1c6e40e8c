"""The only module that starts processes. Commands are argument lists, never shell strings.

``env`` always means "the current environment plus these". Secrets go there or to ``stdin``, never into ``argv``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from letta_stack.base import console
from letta_stack.errors import CommandFailed, CommandNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

# `docker compose` and `buildx` need this long to undo what they began when Ctrl-C reaches them.
INTERRUPT_GRACE_SECONDS = 30.0
STDERR = 2  # the stream itself, which a test or a notebook may have replaced in sys
EXIT_TIMEOUT = 124  # as coreutils' timeout


@dataclass(frozen=True)
class Completed:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether the command succeeded."""
        return self.exit_code == 0


def call(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> int:
    """Run with the terminal's own streams and return the exit code; for a command whose output is the result."""
    return _execute(argv, env=env, cwd=cwd, stdin=stdin).exit_code


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> None:
    """Show the command and its output as it comes, all on stderr; raise ``CommandFailed`` if it fails.

    Standard output stays free for a task's own result, which a script keeps.
    """
    console.say(f"+ {shlex.join(argv)}")
    completed = _execute(argv, env=env, cwd=cwd, stdin=stdin, stdout=STDERR)
    if not completed.ok:
        raise CommandFailed(argv, completed.exit_code)


def capture(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> str:
    """Run quietly and return what it wrote to stdout; raise ``CommandFailed`` if it fails."""
    pipe = subprocess.PIPE
    completed = _execute(
        argv, env=env, cwd=cwd, stdin=stdin, timeout=timeout, stdout=pipe, stderr=pipe
    )
    if not completed.ok:
        raise CommandFailed(argv, completed.exit_code, completed.stderr)
    return completed.stdout


def probe(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> Completed:
    """Run quietly and say how it ended. A missing program is exit code 127, a timeout 124."""
    try:
        pipe = subprocess.PIPE
        return _execute(
            argv, env=env, cwd=cwd, stdin=stdin, timeout=timeout, stdout=pipe, stderr=pipe
        )
    except CommandNotFound as error:
        return Completed(error.exit_code, "", error.stderr)


def stream(
    argv: Sequence[str], *, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
) -> str:
    """Run with open files as input and output, however large; return, or raise ``CommandFailed`` with, what stderr said."""
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise CommandNotFound(argv) from error
    try:
        _, stderr = child.communicate()
    except BaseException:
        child.kill()
        child.wait()
        raise
    said = stderr.decode(errors="replace")
    if child.returncode != 0:
        raise CommandFailed(argv, child.returncode, said)
    return said


@contextlib.contextmanager
def conversation(argv: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a program that answers line by line, give its pipes, and end it when the block ends."""
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
    except FileNotFoundError as error:
        raise CommandNotFound(argv) from error
    with child:
        try:
            yield child
        finally:
            child.kill()


def spawn(argv: Sequence[str], *, log: Path) -> int:
    """Start a daemon in a session of its own, its output appended to ``log``; return its pid."""
    with log.open("ab") as output:
        daemon = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    # Python warns about a child that is forgotten while it runs; this one is meant to outlive us.
    daemon.returncode = 0
    return daemon.pid


def _execute(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stdin: str | None,
    stdout: int | None = None,
    stderr: int | None = None,
    timeout: float | None = None,
) -> Completed:
    sys.stdout.flush()
    try:
        child = subprocess.Popen(
            list(argv),
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            stdin=None if stdin is None else subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise
        raise CommandNotFound(argv) from error
    try:
        said, complained = child.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        said, _ = child.communicate()
        return Completed(EXIT_TIMEOUT, said or "", f"no answer within {timeout:g} s")
    except BaseException:
        # A terminal sends Ctrl-C to the child as well, other senders do not: let it undo what it began.
        _end(child)
        raise
    return Completed(child.returncode, said or "", complained or "")


def _end(child: subprocess.Popen[str]) -> None:
    """Wait for the child to end by itself, then ask it, then end it; a second Ctrl-C ends it at once."""
    try:
        for grace, request in ((2.0, signal.SIGINT), (INTERRUPT_GRACE_SECONDS, signal.SIGKILL)):
            try:
                child.wait(grace)
            except subprocess.TimeoutExpired:
                child.send_signal(request)
    except KeyboardInterrupt:
        child.kill()
    child.wait()
