"""What the migrations import of the server, without the rest of it: a fifth of the processor time.

They want its settings, a few helpers and the types of its columns. ``import letta`` alone imports a third of the server, the
types import the clients of every provider, for values that only few migrations read.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TYPES = "letta.orm.custom_columns"
_VALUES = "letta.helpers.converters"


def install() -> None:
    """Put packages without their ``__init__`` in the place of ``letta`` and ``letta.orm``, in this process."""
    server = _bare_package("letta", None)
    orm = _bare_package("letta.orm", server.__path__)
    server.__dict__["orm"] = orm
    # Migrations name some types as attributes of the tables' modules, which import them: letta.orm.agent.ToolRulesColumn.
    orm.__dict__["__getattr__"] = _types
    values = ModuleType(_VALUES)
    values.__dict__["__getattr__"] = _on_demand
    sys.modules[_VALUES] = values


def _bare_package(name: str, path: Sequence[str] | None) -> ModuleType:
    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    package = ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package
    return package


def _types(name: str) -> ModuleType:
    if name.startswith("__"):
        raise AttributeError(name)
    return importlib.import_module(_TYPES)


def _on_demand(name: str) -> Callable[..., Any]:
    """Return a function that converts like the server's own of that name, which it imports at its first call."""
    if name.startswith("__"):
        raise AttributeError(name)
    stub = sys.modules[_VALUES]

    def convert(*arguments: Any) -> Any:
        if sys.modules[_VALUES] is stub:
            del sys.modules[_VALUES]
        return getattr(importlib.import_module(_VALUES), name)(*arguments)

    return convert
