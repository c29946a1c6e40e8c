"""The user's ``.env``: found wrong here, before compose makes something else of it than what it looks like."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from dotenv.parser import parse_stream

from letta_stack.base.paths import ROOT
from letta_stack.errors import BadDotenv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dotenv.parser import Binding

ASSIGNMENT = re.compile(
    r"(?:export\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)(?P<middle>\s*=\s*)(?P<value>.*)", re.DOTALL
)
CURLY = "\u2018\u2019\u201c\u201d\u201e\u201a"
QUOTES = ("'", '"')
DOLLAR = re.compile(r"(?<!\\)\$")


def check(path: Path = ROOT / ".env") -> None:
    """Raise BadDotenv for the first line of ``path`` that would not mean what it looks like; no file is fine."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # compose, too, skips a byte order mark
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise BadDotenv(f"cannot read {path} as UTF-8 text ({error}); save it as UTF-8") from error
    for number, problem in problems(text):
        raise BadDotenv(f"{path.name}:{number}: {problem}")


def values(path: Path = ROOT / ".env") -> dict[str, str]:
    """Return what ``path``, found right by ``check``, assigns; nothing if there is no such file."""
    if not path.is_file():
        return {}
    bindings = parse_stream(io.StringIO(path.read_text(encoding="utf-8-sig")))
    return {one.key: one.value or "" for one in bindings if one.key}


def problems(text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and problem. Values are never repeated: they are keys and passwords.

    Compose takes matching quotes off. What it does not take off becomes part of the value, and the provider then
    rejects the key without saying why.
    """
    for binding in parse_stream(io.StringIO(text)):
        original = binding.original.string
        blank_lines = original[: len(original) - len(original.lstrip())].count("\n")
        if problem := _problem(binding):
            yield binding.original.line + blank_lines, problem


def _problem(binding: Binding) -> str | None:
    """Return what is wrong with one assignment, None if nothing is."""
    line = binding.original.string.strip()
    if not line or line.startswith("#"):
        return None
    match = ASSIGNMENT.fullmatch(line)
    if match is None:
        return "not KEY=value; put # before text that is a comment"
    key, value = match["key"], match["value"]
    if match["middle"] != "=":
        return f"{key} has spaces around =; write {key}=value"
    if value.startswith(QUOTES):
        return _problem_of_quoted(key, value, binding)
    return _problem_of_unquoted(key, value, binding)


def _problem_of_unquoted(key: str, value: str, binding: Binding) -> str | None:
    if any(char in CURLY for char in value):
        return f"the value of {key} has typographic quotes; use straight ones or none"
    if value.endswith(QUOTES):
        return f"the value of {key} ends with a quote that was never opened; remove it"
    if "$" in (binding.value or ""):
        return f"compose takes the $ in the value of {key} for a variable; write {key}='value'"
    return None


def _problem_of_quoted(key: str, value: str, binding: Binding) -> str | None:
    quote = value[0]
    if binding.error and quote not in value[1:]:
        return f"the quote before the value of {key} is never closed; close or remove it"
    if binding.error:
        return f"text follows the quoted value of {key}; quote all of it or nothing"
    inner = binding.value or ""
    if inner[:1] in QUOTES and inner[-1:] == inner[:1]:
        return f"the value of {key} is quoted twice; remove the inner quotes"
    if quote == '"' and DOLLAR.search(inner):
        return (
            f"compose takes the $ in the value of {key} for a variable; write {key}='value', "
            "or \\$ for the $ if the value has a single quote"
        )
    return None
