"""The quick way: the tests are collected once, and each mistake gets a fork in which one function has other code.

Importing everything takes a second for each mistake, running the tests that reach it takes some milliseconds.
"""

from __future__ import annotations

import gc
import os
from types import CodeType, FunctionType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.mutation.job import Job


class Swapping:
    """A plugin of pytest that runs the tests of each job instead of those that it collected."""

    def __init__(self, jobs: Sequence[Job], report: Callable[[Job, bool | None], None]) -> None:
        self._jobs = jobs
        self._report = report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Report for each job whether it survives, None if its code cannot be exchanged."""
        items = {item.nodeid: item for item in session.items}
        known = live_functions()
        # The directory of all temporary ones is made once.
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # noqa: SLF001
        for job in self._jobs:
            code = code_of(job)
            targets = known.get(key(code), []) if code else []
            if code is None or not targets:
                self._report(job, None)
                continue
            child = os.fork()
            if not child:
                run_child(session, [items[name] for name in job.tests], targets, code)
            _, status = os.waitpid(child, 0)
            self._report(job, status == 0)
        return True


def run_child(
    session: pytest.Session, items: list[pytest.Item], targets: list[FunctionType], code: CodeType
) -> None:
    """Exchange the code, run the tests up to the first that fails, and end the process; 0 if none did."""
    try:
        for target in targets:
            target.__code__ = code
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                break
        os._exit(1 if session.testsfailed else 0)
    finally:
        os._exit(1)  # a mistake may end the process


def key(code: CodeType) -> tuple[str, str, int]:
    """Return what names a function in every version of its module."""
    return code.co_filename, code.co_qualname, code.co_firstlineno


def live_functions() -> dict[tuple[str, str, int], list[FunctionType]]:
    """Index the functions of the process."""
    found: dict[tuple[str, str, int], list[FunctionType]] = {}
    for one in gc.get_objects():
        if isinstance(one, FunctionType):
            found.setdefault(key(one.__code__), []).append(one)
    return found


def code_of(job: Job) -> CodeType | None:
    """Return the changed function's code."""
    module = compile(job.mutant.tree, str(job.path), "exec")
    return next((one for one in nested(module) if one.co_qualname == job.mutant.function), None)


def nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of all functions and classes in ``code``."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from nested(constant)
