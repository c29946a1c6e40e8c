"""Puts mistakes into a package and counts how many its tests notice: `python -m tests.mutation.run [PACKAGE...]`.

mutmut leaves decorated functions out, which every task is, and cosmic-ray runs all tests for each mistake. Here only the
tests that reach the line run, up to the first that fails. A mistake in a function is put into a fork of a process that
has everything loaded (see swap.py); one in code that runs on import, into a process that imports the changed module.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.machinery
import io
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coverage
import pytest

from tests.mutation.job import PACKAGES, ROOT, jobs_of
from tests.mutation.swap import Swapping

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from types import CodeType

    from tests.mutation.job import Job, Lines

QUIET = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", "--timeout=20"]
QUIET += ["-o", "tmp_path_retention_policy=none"]
# Slow to import, and not what is changed: every forked process has them already.
PRELOADED = ("invoke.main", "python_on_whales", "requests", "semver", "tenacity", "yaml")
FORK = multiprocessing.get_context("fork")


class Contexts:
    """A plugin of pytest that tells coverage which test runs, and takes the time."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Attribute the lines that a test reaches to it."""
        self._measured.switch_context(item.nodeid)
        started = time.monotonic()
        answer = yield
        self.seconds[item.nodeid] = time.monotonic() - started
        return answer


def run_tests(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Run pytest in this process, silently."""
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a device
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    # pytest's usual place for temporary files is emptied by whoever runs pytest next.
    with (
        tempfile.TemporaryDirectory() as directory,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        options = [*QUIET, f"--basetemp={directory}/pytest"]
        return int(pytest.main([*options, *arguments], plugins=list(plugins)))


def reach(package: str, answers: Any) -> None:
    """Answer with the tests that reach each line of each file of the package, the quickest first."""
    source = ROOT / "letta_stack" / package
    measured = coverage.Coverage(data_file=None, config_file=False, source=[str(source)])
    measured.start()
    contexts = Contexts(measured)
    code = run_tests(PACKAGES[package], [contexts])
    measured.stop()
    data = measured.get_data()
    lines: Lines = {name: data.contexts_by_lineno(name) for name in data.measured_files()}
    answers.put((code, lines, contexts.seconds))
    answers.put(None)


def swap(package: str, jobs: Sequence[Job], answers: Any) -> None:
    """Answer for each job with its number, and whether the mistake survives: None if this way cannot tell."""
    numbers = {id(job): number for number, job in enumerate(jobs)}
    plugin = Swapping(jobs, lambda job, alive: answers.put((numbers[id(job)], alive)))
    run_tests(PACKAGES[package], [plugin])
    answers.put(None)


def survives(job: Job) -> bool:
    """Tell whether all tests pass in spite of the mistake, in a process that has not imported the package."""
    changed = compile(job.mutant.tree, str(job.path), "exec")
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
        return changed if Path(self.path) == job.path else original(self, fullname)

    setattr(importlib.machinery.SourceFileLoader, "get_code", get_code)  # noqa: B010 - mypy forbids the assignment
    try:
        return run_tests(job.tests) == 0
    except BaseException:  # noqa: BLE001 - a mistake may end the process
        return False


def ask(target: Any, *arguments: object) -> Iterator[Any]:
    """Yield what a process of its own answers, until it answers None."""
    answers = FORK.SimpleQueue()
    process = FORK.Process(target=target, args=(*arguments, answers))
    process.start()
    yield from iter(answers.get, None)
    process.join()


def measure(package: str, processes: int, part: slice) -> list[tuple[Job, bool]]:
    """Return the mistakes, and whether no test noticed."""
    ((code, lines, seconds),) = ask(reach, package)
    if code:
        sys.exit(f"error: the tests of {package} fail without any mistake in it; repair them first")
    jobs = list(jobs_of(package, lines, seconds))[part]
    outcome: dict[int, bool] = {}

    def note(number: int, *, alive: bool) -> None:
        outcome[number] = alive
        if alive:
            reached = "" if jobs[number].tests else " (no test reaches it)"
            print(f"{jobs[number]}{reached}", flush=True)

    for number, job in enumerate(jobs):
        if not job.tests:
            note(number, alive=True)
    quick = [n for n, job in enumerate(jobs) if job.tests and not job.on_import]
    for number, alive in ask(swap, package, [jobs[n] for n in quick]):
        if alive is not None:
            note(quick[number], alive=alive)
    rest = [n for n in range(len(jobs)) if n not in outcome]
    with FORK.Pool(processes, maxtasksperchild=1) as pool:
        for number, alive in zip(rest, pool.imap(survives, [jobs[n] for n in rest]), strict=True):
            note(number, alive=alive)
    return [(job, outcome[n]) for n, job in enumerate(jobs)]


def main() -> None:
    """Print the score of each package, and each mistake that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=", ".join(PACKAGES))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth mistake")
    parser.add_argument("--offset", type=int, default=0, metavar="N", help="without the first N")
    options = parser.parse_args()
    for name in PRELOADED:
        importlib.import_module(name)
    table = ["| package | mistakes | noticed | score | not reached by a test | seconds |"]
    table += ["|---|---|---|---|---|---|"]
    for package in options.packages or PACKAGES:
        started = time.monotonic()
        outcome = measure(package, options.processes, slice(options.offset, None, options.every))
        alive = [job for job, survived in outcome if survived]
        missed = sum(not job.tests for job in alive)
        noticed = len(outcome) - len(alive)
        score = 100 * noticed / len(outcome)
        took = time.monotonic() - started
        table += [
            f"| {package} | {len(outcome)} | {noticed} | {score:.1f} % | {missed} | {took:.0f} |"
        ]
    print(*table, sep="\n")


if __name__ == "__main__":
    main()
