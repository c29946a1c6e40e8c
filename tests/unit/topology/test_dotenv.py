from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from letta_stack.base.paths import ROOT
from letta_stack.errors import BadDotenv
from letta_stack.topology import dotenv

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# prose is fine here\nKEY=value\n",
        'KEY="value"\n',
        "KEY='va lue' # why\n",
        'KEY="first\nsecond"\nOTHER=1\n',
        "export KEY=value\n",
        "KEY=\n",
        "KEY=it's\n",
        "KEY=postgresql://u:p@h/db?x=1\r\n",
        "KEY='pa$word1'\n",
        'KEY="it\'s pa\\$word1"\n',
        "KEY=value # costs $5\n",
        "KEY='\u201cvalue\u201d'\n",
        "KEY=\"'one' or two\"\n",
        "#KEY = value\n",
        "  \n",
    ],
)
def test_a_dotenv_that_means_what_it_looks_like_passes(text: str) -> None:
    assert list(dotenv.problems(text)) == []


@pytest.mark.parametrize(
    ("text", "number", "says"),
    [
        ("A=1\nMy settings\n", 2, "not KEY=value"),
        ("KEY = sk-secret\n", 1, "spaces around ="),
        ("KEY=\u201csk-secret\u201d\n", 1, "typographic"),
        ('KEY="sk-secret\nOTHER=1\n', 1, "never closed"),
        ('KEY=sk-secret"\n', 1, "never opened"),
        ("KEY=\"'sk-secret'\"\n", 1, "quoted twice"),
        ('KEY="sk-"secret\n', 1, "text follows"),
        ("\n# why\n\nKEY=sk-$secret\n", 4, "write KEY='value'"),
        ('KEY="sk-$secret"\n', 1, "write KEY='value'"),
        ("KEY=sk-${secret}\n", 1, "write KEY='value'"),
        ('A="1\n2"\nB = secret\n', 3, "spaces around ="),
        ("KEY= secret\n", 1, "spaces around ="),
        ("KEY =secret\n", 1, "spaces around ="),
        ("KEY=\u2018sk-secret\n", 1, "typographic"),
        ("KEY=sk-secret'\n", 1, "never opened"),
        ("KEY='sk-secret\n", 1, "never closed"),
        ("KEY='\"sk-secret\"'\n", 1, "quoted twice"),
        ("KEY='sk-'secret\n", 1, "text follows"),
    ],
)
def test_a_dotenv_line_that_would_surprise_is_named_without_its_value(
    text: str, number: int, says: str
) -> None:
    ((line, problem),) = dotenv.problems(text)

    assert line == number
    assert says in problem
    assert "secret" not in problem


def test_no_dotenv_is_no_problem(tmp_path: Path) -> None:
    dotenv.check(tmp_path / ".env")


def test_the_first_problem_of_a_dotenv_ends_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nB = 2\n")

    with pytest.raises(BadDotenv, match=r"^\.env:2: B has spaces"):
        dotenv.check(path)


def test_the_users_dotenv_is_the_one_in_the_checkout() -> None:
    assert inspect.signature(dotenv.check).parameters["path"].default == ROOT / ".env"


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n", encoding="utf-8-sig")

    dotenv.check(path)


def test_what_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n", encoding="utf-16")

    with pytest.raises(BadDotenv, match="as UTF-8"):
        dotenv.check(path)


def test_values_are_read_as_compose_does(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert dotenv.values(path) == {}

    path.write_text("# a comment\nA=1\nexport B='two words'\nC=\n", encoding="utf-8-sig")

    assert dotenv.values(path) == {"A": "1", "B": "two words", "C": ""}
