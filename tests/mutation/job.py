"""A mistake, and the tests that could notice it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutation.mutants import mutants

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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

Lines = dict[str, dict[int, list[str]]]
"""By file and line the tests that reach it; "" stands for what runs before the first test."""


@dataclass(frozen=True)
class Job:
    """A mistake, and the tests that could notice it."""

    path: Path
    mutant: Mutant
    tests: Sequence[str]
    on_import: bool  # runs before any test does, so that exchanging a function is too late

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.mutant.line}: {self.mutant.description}"


def jobs_of(package: str, lines: Lines, seconds: Mapping[str, float]) -> Iterator[Job]:
    """Yield a package's mistakes, each with the tests that reach its line.

    A constant is read without reaching its line: what runs on import is answered for by all tests, first those that
    reach the file. ``seconds`` is how long each test takes: the quickest are asked first.
    """
    for path in sorted((ROOT / "letta_stack" / package).rglob("*.py")):
        reached = lines.get(str(path), {})
        readers = {test for tests in reached.values() for test in tests}
        for mutant in mutants(path.read_text(encoding="utf-8")):
            # Of a statement that has several lines Python runs some.
            tests = reached.get(mutant.line) or [
                *{test for line in mutant.statement for test in reached.get(line, [])}
            ]
            on_import = "" in tests or not mutant.function
            asked = [*seconds] if "" in tests else tests
            ordered = sorted(asked, key=lambda test: (test not in readers, seconds[test], test))
            yield Job(path, mutant, ordered, on_import)
