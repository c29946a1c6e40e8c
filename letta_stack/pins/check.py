"""Proves that nothing says a version, image or checksum that ``pins.env`` says otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from letta_stack.base import console
from letta_stack.base.paths import ROOT
from letta_stack.errors import PinsDisagree
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DOCKERFILE_ARG = re.compile(r"^\s*ARG\s+(?P<key>[A-Z][A-Z0-9_]*)=(?P<value>\S*)")
COMPOSE_IMAGE = re.compile(r"^\s*image:\s*(?P<image>\S+)")
VARIABLE = re.compile(r"\$\{(?P<key>[A-Z][A-Z0-9_]*):\?")


def check(root: Path = ROOT) -> None:
    """Raise for the first disagreement, and print the others before it."""
    pins = Pins.load(root / "pins.env")
    found = [
        f"{path.relative_to(root)}:{number}: {problem}"
        for path, problems in (
            *((path, dockerfile_problems(path.read_text(), pins)) for path in dockerfiles(root)),
            *((path, compose_problems(path.read_text(), pins)) for path in compose_files(root)),
        )
        for number, problem in problems
    ]
    if found:
        for line in found[:-1]:
            console.say(line)
        raise PinsDisagree(f"{found[-1]}; pins.env is the one place to change, correct this line")


def dockerfiles(root: Path) -> list[Path]:
    """Find the Dockerfiles of the project."""
    return sorted([*root.glob("Dockerfile"), *root.glob("images/**/*Dockerfile*")])


def compose_files(root: Path) -> list[Path]:
    """Find the compose files of the project."""
    return sorted([*root.glob("*compose.yaml"), *root.glob("compose/**/*.yaml")])


def dockerfile_problems(text: str, pins: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield the ARG defaults that differ from the pin of the same name."""
    for number, line in enumerate(text.splitlines(), start=1):
        match = DOCKERFILE_ARG.match(line)
        if match is None or match["key"] not in pins:
            continue
        key, value = match["key"], match["value"].strip("\"'")
        if value != pins[key]:
            yield number, f"ARG {key} defaults to {value!r}, pins.env has {pins[key]!r}"


def compose_problems(text: str, pins: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield images that are not named by a pin, and pins that do not exist."""
    for number, line in enumerate(text.splitlines(), start=1):
        image = COMPOSE_IMAGE.match(line)
        if image is not None and VARIABLE.search(image["image"]) is None:
            yield number, f"image {image['image']!r} is not named by a pin"
        for variable in VARIABLE.finditer(line):
            if variable["key"] not in pins:
                yield number, f"{variable['key']} is not in pins.env"
