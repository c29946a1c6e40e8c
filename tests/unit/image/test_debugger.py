from __future__ import annotations

from pathlib import Path

import pytest

from letta_stack.base import process
from letta_stack.errors import BuildFailed, CommandFailed
from letta_stack.image import debugger, third_party
from letta_stack.image.sources import Sources

SOURCES = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(debugger, "STATE", tmp_path)
    monkeypatch.setattr(third_party, "native", lambda: "linux/amd64")
    selection = third_party.Selection(references={}, rebuilt={}, platforms=("linux/amd64",))
    monkeypatch.setattr(third_party, "choose", lambda *_, **__: selection)
    monkeypatch.setattr(third_party, "make", lambda *_, **__: None)
    return tmp_path


def test_the_debugger_is_built_once_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def build(command: list[str]) -> None:
        commands.append(command)
        (output,) = (one for one in command if one.startswith("--output=type=local,dest="))
        Path(output.partition("dest=")[2], "debugpy").mkdir(parents=True)

    monkeypatch.setattr(process, "run", build)
    there = debugger.prepare(SOURCES)

    assert debugger.prepare(SOURCES) == there
    assert len(commands) == 1
    assert "--target=debugger" in commands[0]
    assert [one.name for one in there.iterdir()] == ["debugpy"]
    assert [one.name for one in there.parent.iterdir()] == [there.name]


def test_a_build_that_breaks_leaves_nothing_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    def break_off(command: list[str]) -> None:
        raise CommandFailed(command, 1)

    monkeypatch.setattr(process, "run", break_off)

    with pytest.raises(BuildFailed, match="or leave --debug-port out"):
        debugger.prepare(SOURCES)
    assert list((state / "debugger").iterdir()) == []


def test_other_versions_and_other_processors_lie_elsewhere() -> None:
    assert debugger.directory("linux/amd64") != debugger.directory("linux/arm64")
