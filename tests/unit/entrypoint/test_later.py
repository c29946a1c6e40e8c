"""Libraries that are imported when they are used, with one made for the test."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
from entrypoint import later

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBRARY = "seldom_used"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return what the import of the library gives."""
    package = tmp_path / LIBRARY
    package.mkdir()
    source = (
        "class Page:\n    def __init__(self, text=''):\n        self.text = text\nversion = '1'\n"
    )
    (package / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(later, "CLASSES", {LIBRARY: ("Page",)})
    monkeypatch.setattr(sys, "meta_path", [later.Finder(), *sys.meta_path])
    yield importlib.import_module(LIBRARY)
    for name in [name for name in sys.modules if name.partition(".")[0] == LIBRARY]:
        del sys.modules[name]


def imported() -> bool:
    return getattr(sys.modules[LIBRARY], "__file__", None) is not None


def test_naming_a_class_imports_nothing(library: Any) -> None:
    # As the server's modules do.
    annotation = list[library.Page] | library.Page | None

    assert library.Page in annotation.__args__
    assert not imported()


def test_calling_a_class_makes_one_of_the_library(library: Any) -> None:
    page = library.Page(text="x")

    assert imported()
    assert type(page) is sys.modules[LIBRARY].Page
    assert page.text == "x"


def test_an_object_of_the_library_is_an_instance_of_the_class(library: Any) -> None:
    page = library.Page()

    assert isinstance(page, library.Page)
    assert not isinstance("x", library.Page)


def test_whoever_asks_for_something_else_gets_it(library: Any) -> None:
    assert library.version == "1"
    assert imported()


def test_other_libraries_are_left_to_python() -> None:
    assert later.Finder().find_spec("json") is None
