"""Libraries that the server imports at its start for what few of its users do: they are imported when somebody does it."""

from __future__ import annotations

import importlib
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

CLASSES: dict[str, tuple[str, ...]] = {
    # letta/services/file_processor/parser/markitdown_parser.py, for files that are not plain text. It brings pandas, NumPy,
    # ONNX and readers of office files along: a seventh of the processor time of a start.
    "markitdown": ("MarkItDown",),
    # letta/services/file_processor: the shape of what a parser found, for any file, and a client of Mistral.
    "mistralai": ("Mistral", "OCRPageObject", "OCRResponse", "OCRUsageInfo"),
}
"""The classes of each library that the server names in its modules: to call them, to annotate with them, and for isinstance. It
imports no module inside these libraries."""

_lock = threading.RLock()


class _Class(type):
    """A class that stands for one of a library that is not imported yet."""

    library: str

    def __call__(cls, *args: Any, **options: Any) -> Any:
        return cls.real()(*args, **options)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.real())

    def real(cls) -> Any:
        return getattr(_real(cls.library), cls.__name__)


class _Library(ModuleType):
    """What the import gives instead; who asks for anything but the classes gets the library's own."""

    def __getattr__(self, name: str) -> Any:
        # Python's import looks for these in every module.
        if name in {"__path__", "__file__", "__wrapped__"}:
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


class _Loader:
    """Makes the module."""

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return _Library(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        for name in CLASSES[module.__name__]:
            setattr(module, name, _Class(name, (), {"library": module.__name__}))


class Finder:
    """Finds the libraries of ``CLASSES``, once each: the second import is of the library itself."""

    def __init__(self) -> None:
        """Know none yet."""
        self._found: set[str] = set()

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what makes the module that stands for a library, None for every other one."""
        if name not in CLASSES or name in self._found:
            return None
        self._found.add(name)
        return ModuleSpec(name, _Loader)  # type: ignore[arg-type]  # the two methods that a loader needs


def _real(library: str) -> ModuleType:
    """Import a library, if nobody has done it."""
    with _lock:
        if isinstance(sys.modules.get(library), _Library):
            del sys.modules[library]
        return importlib.import_module(library)


def build_models_when_they_are_used(module: Any) -> None:
    """Let the pydantic models of a module be built when one of them is first used; before its import.

    google/genai/types.py and others: 900 models, of which a server without that provider uses none.
    """
    del module
    importlib.import_module("pydantic._internal._config").config_defaults["defer_build"] = True


def build_models_at_once(module: Any) -> None:
    """Let those of every other module be built as they were; after its import."""
    del module
    importlib.import_module("pydantic._internal._config").config_defaults["defer_build"] = False
