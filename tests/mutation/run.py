"""Puts mistakes into a package and counts how many its tests notice: `python -m tests.mutation.run [PACKAGE...]`.

mutmut leaves decorated functions out, which every task is, and cosmic-ray runs all tests for each mistake. Here only the
tests that reach the line run, in a process forked for each mistake, which imports the changed module.
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
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coverage
import pytest

from tests.mutation.mutants import mutants

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from types import CodeType

    from tests.mutation.mutants import Mutant

ROOT = Path(__file__).resolve().parents[2]
# package -> the tests that answer for it
PACKAGES = {
    "cli": ["tests/cli"],
    "topology": ["tests/unit/topology"],
    "image": ["tests/unit/image"],
    "registry": ["tests/unit/registry"],
    "release": ["tests/unit/release", "tests/unit/registry"],
}
QUIET = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", "--timeout=20"]
# Slow to import, and not what is changed: every forked process has them already.
PRELOADED = ("invoke.main", "python_on_whales", "requests", "semver", "tenacity", "yaml")


class Contexts:
    """A plugin of pytest that tells coverage which test runs."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Attribute the lines that a test reaches to it."""
        self._measured.switch_context(item.nodeid)
        return (yield)


@dataclass(frozen=True)
class Job:
    """A mistake, and the tests that could notice it."""

    path: Path
    mutant: Mutant
    tests: Sequence[str]

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.mutant.line}: {self.mutant.description}"


def run_tests(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Run pytest in this process, silently."""
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a device
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return int(pytest.main([*QUIET, *arguments], plugins=list(plugins)))


def reach(package: str, answers: Any) -> None:
    """Answer with the tests that reach each line of each file of the package."""
    source = ROOT / "letta_stack" / package
    measured = coverage.Coverage(data_file=None, config_file=False, source=[str(source)])
    measured.start()
    code = run_tests(PACKAGES[package], [Contexts(measured)])
    measured.stop()
    data = measured.get_data()
    lines = {
        name: {
            line: [one for one in tests if one]
            for line, tests in data.contexts_by_lineno(name).items()
        }
        for name in data.measured_files()
    }
    answers.put((code, lines))


def survives(job: Job) -> bool:
    """Tell whether all tests pass in spite of the mistake."""
    if not job.tests:
        return True
    changed = compile(job.mutant.tree, str(job.path), "exec")
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
        return changed if Path(self.path) == job.path else original(self, fullname)

    setattr(importlib.machinery.SourceFileLoader, "get_code", get_code)  # noqa: B010 - mypy forbids the assignment
    try:
        return run_tests(job.tests) == 0
    except BaseException:  # noqa: BLE001 - a mistake may end the process
        return False


def jobs_of(package: str, lines: dict[str, dict[int, list[str]]]) -> Iterable[Job]:
    """Yield a package's mistakes; code that runs on import is answered for by every test that reaches the file."""
    for path in sorted((ROOT / "letta_stack" / package).rglob("*.py")):
        reached = lines.get(str(path), {})
        everyone = sorted({test for tests in reached.values() for test in tests})
        for mutant in mutants(path.read_text(encoding="utf-8")):
            tests = reached.get(mutant.line) or (everyone if mutant.line in reached else [])
            yield Job(path, mutant, tests)


def measure(package: str, processes: int, every: int) -> tuple[int, list[Job]]:
    """Return how many mistakes there are, and those that no test noticed."""
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    first = fork.Process(target=reach, args=(package, answers))
    first.start()
    code, lines = answers.get()
    first.join()
    if code:
        sys.exit(f"error: the tests of {package} fail without any mistake in it; repair them first")
    jobs = list(jobs_of(package, lines))[::every]
    with fork.Pool(processes, maxtasksperchild=1) as pool:
        outcome = []
        for job, alive in zip(jobs, pool.imap(survives, jobs), strict=True):
            outcome.append(alive)
            if alive:
                reached = "" if job.tests else " (no test reaches it)"
                print(f"{job}{reached}", flush=True)
    return len(jobs), [job for job, alive in zip(jobs, outcome, strict=True) if alive]


def main() -> None:
    """Print the score of each package, and each mistake that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=", ".join(PACKAGES))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth mistake")
    options = parser.parse_args()
    for name in PRELOADED:
        importlib.import_module(name)
    table = ["| package | mistakes | noticed | score | not reached by a test | seconds |"]
    table += ["|---|---|---|---|---|---|"]
    for package in options.packages or PACKAGES:
        started = time.monotonic()
        count, alive = measure(package, options.processes, options.every)
        missed = sum(not job.tests for job in alive)
        score = 100 * (count - len(alive)) / count
        took = time.monotonic() - started
        table += [
            f"| {package} | {count} | {count - len(alive)} | {score:.1f} % | {missed} | {took:.0f} |"
        ]
    print(*table, sep="\n")


if __name__ == "__main__":
    main()
