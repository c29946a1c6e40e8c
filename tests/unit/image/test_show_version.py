"""`inv version`: which questions it asks, and what it prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from letta_stack.errors import BadValue, LettaCode
from letta_stack.image import server, version
from letta_stack.image.version import Answer, Detected
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from pathlib import Path

PINS = Pins.load()
ASK: dict[str, Any] = {
    "explicit": "",
    "source": "",
    "image": "",
    "allow_letta_code": False,
    "why": False,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is asked for; the answer is the version in "answer"."""
    questions: dict[str, Any] = {"answer": "0.16.7"}

    def detect(**options: Any) -> Detected:
        questions.update(options)
        return Detected((Answer("a place", Version(questions["answer"]), "why"),))

    monkeypatch.setattr(version, "detect", detect)
    monkeypatch.delenv("LETTA_STACK_IMAGE", raising=False)
    return questions


def test_the_versions_of_both_are_one_line(asked: dict[str, Any]) -> None:
    assert server.show_version(**ASK) == [
        f"letta-stack {PINS['LETTA_STACK_VERSION']}, letta 0.16.7"
    ]
    assert asked == {
        "answer": "0.16.7",
        "pin": PINS["LETTA_VERSION"],
        "explicit": "",
        "source": None,
        "image": server.image_name(),
        "every_source": False,
    }


def test_the_flags_are_the_questions(asked: dict[str, Any], tmp_path: Path) -> None:
    flags = {"explicit": "0.16.6", "source": str(tmp_path), "image": "mine", "why": True}

    first, *explained = server.show_version(**{**ASK, **flags})

    assert first.endswith("letta 0.16.7")
    assert explained == ["-> a place  0.16.7      why"]
    assert asked["explicit"] == "0.16.6"
    assert asked["source"] == tmp_path
    assert asked["image"] == "mine"
    assert asked["every_source"] is True


def test_letta_code_needs_a_flag(asked: dict[str, Any]) -> None:
    asked["answer"] = "0.17.0"

    with pytest.raises(LettaCode):
        server.show_version(**ASK)
    assert server.show_version(**{**ASK, "allow_letta_code": True})[0].endswith("letta 0.17.0")


def test_a_source_that_is_not_there_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(BadValue, match="--letta-source '/no/such/place' does not exist"):
        server.show_version(**{**ASK, "source": "/no/such/place"})


def test_the_image_is_the_one_that_compose_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LETTA_STACK_IMAGE", raising=False)
    assert server.image_name() == f"letta-stack/letta:{PINS['LETTA_VERSION']}"

    monkeypatch.setenv("LETTA_STACK_IMAGE", "mine")
    assert server.image_name() == "mine"
    assert server.default_image() == f"letta-stack/letta:{PINS['LETTA_VERSION']}"
