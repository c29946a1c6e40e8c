"""Runs Invoke's own program in this process, with the function that a task ends in replaced by one that notes its arguments."""

from __future__ import annotations

import importlib
import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from invoke.main import program

from letta_stack.base.paths import ROOT
from tests.support import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How `inv` ended."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.forget(monkeypatch)


@pytest.fixture
def inv(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Return what runs `inv` with some arguments."""

    def run(*arguments: str) -> Ended:
        argv = ["inv", *arguments]
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", argv)
        capsys.readouterr()
        code = 0
        try:
            program.run(argv)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def intercept(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Arguments]]:
    """Return what replaces a function, `package.module:Class.method`, by one that notes how it was called."""

    def replace(place: str, answer: object = None) -> list[Arguments]:
        module, _, path = place.partition(":")
        owner: Any = importlib.import_module(module)
        *parents, name = path.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        signature = inspect.signature(getattr(owner, name))
        calls: list[Arguments] = []

        def note(*args: object, **kwargs: object) -> object:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            calls.append(dict(bound.arguments))
            return answer

        monkeypatch.setattr(owner, name, note)
        return calls

    return replace


def at(arguments: Mapping[str, Any], path: str) -> object:
    """Follow a path into the arguments of a call: ``project.topology.name``."""
    name, *rest = path.split(".")
    value = arguments[name]
    for one in rest:
        value = value.get(one) if isinstance(value, dict) else getattr(value, one)
    return value
