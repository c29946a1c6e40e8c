"""What the migrations import of the server, against a server of five files."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
from entrypoint import columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVERYTHING = "raise AssertionError('imports everything')\n"
FILES = {
    "letta/__init__.py": EVERYTHING,
    "letta/orm/__init__.py": EVERYTHING,
    "letta/settings.py": "settings = 'the settings'\n",
    "letta/helpers/__init__.py": "",
    "letta/helpers/converters.py": "from letta.settings import settings\ndef double(value): return 2 * value\n",
    "letta/orm/custom_columns.py": "from letta.helpers.converters import double\nclass Column: convert = double\n",
}


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    columns.install()
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def imported(name: str) -> Any:
    return importlib.import_module(name)


def test_a_migration_gets_the_settings_without_the_server() -> None:
    assert imported("letta.settings").settings == "the settings"


@pytest.mark.parametrize("table", ["custom_columns", "agent", "message"])
def test_a_migration_finds_a_type_also_at_a_table(table: str) -> None:
    column = getattr(imported("letta.orm"), table).Column

    assert column is imported("letta.orm.custom_columns").Column
    assert imported("letta").orm is imported("letta.orm")


def test_a_value_is_converted_by_the_server_itself_at_the_first_need() -> None:
    column = imported("letta.orm.custom_columns").Column
    assert "letta.settings" not in sys.modules

    assert [column.convert(2), column.convert(4)] == [4, 8]

    assert "letta.settings" in sys.modules


def test_what_python_asks_a_module_for_is_no_type_and_no_function() -> None:
    for name in ("letta.orm", "letta.helpers.converters"):
        assert not hasattr(imported(name), "__version__")


def test_an_image_without_the_server_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "letta/__init__.py").unlink()
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(ModuleNotFoundError, match="No module named 'letta'"):
        columns.install()
