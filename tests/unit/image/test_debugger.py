from __future__ import annotations

from pathlib import Path

import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.errors import BuildFailed, CommandFailed
from letta_stack.image import debugger, server, third_party
from letta_stack.image.sources import Sources

SOURCES = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    state = tmp_path / "not yet there"
    monkeypatch.setattr(debugger, "STATE", state)
    monkeypatch.setattr(third_party, "native", lambda: "linux/amd64")
    selection = third_party.Selection(references={}, rebuilt={}, platforms=("linux/amd64",))
    monkeypatch.setattr(third_party, "choose", lambda *_, **__: selection)
    monkeypatch.setattr(third_party, "make", lambda *_, **__: None)
    return state


def build(command: list[str]) -> None:
    """Leave what the stage exports, as the builder does: for its own user alone."""
    (output,) = (one for one in command if one.startswith("--output=type=local,dest="))
    exported = Path(output.partition("dest=")[2])
    (exported / "debugpy").mkdir(parents=True)
    exported.chmod(0o700)


def test_the_debugger_is_built_once_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> None:
        commands.append(command)
        build(command)

    monkeypatch.setattr(process, "run", run)
    there = debugger.prepare(SOURCES)

    assert debugger.prepare(SOURCES) == there
    assert len(commands) == 1
    assert "--target=debugger" in commands[0]
    assert there.stat().st_mode & 0o777 == 0o755
    assert [one.name for one in there.iterdir()] == ["debugpy"]
    assert [one.name for one in there.parent.iterdir()] == [there.name]


def test_it_is_built_from_what_the_user_chose_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked: list[object] = []
    ca = tmp_path / "ca.pem"
    base = third_party.Selection({"DEBIAN_IMAGE": "debian"}, {}, ("linux/amd64",))

    def choose(pins: object, **options: object) -> third_party.Selection:
        asked.append((pins, options))
        return base

    def run(command: list[str]) -> None:
        asked.append(command)
        build(command)

    monkeypatch.setattr(third_party, "choose", choose)
    monkeypatch.setattr(third_party, "make", lambda what, *, ca: asked.append((what, ca)))
    monkeypatch.setattr(process, "run", run)

    debugger.prepare(Sources(images="debian", otelcol="auto", letta_source=None, ca=ca))

    options = {"source": "debian", "platforms": ("linux/amd64",)}
    command = asked.pop()
    assert asked == [(server.BASES, options), (base, ca)]
    assert isinstance(command, list)
    assert {
        "--platform=linux/amd64",
        "--build-arg=DEBIAN_IMAGE=debian",
        "--build-arg=OTELCOL_SOURCE=release",
        f"--secret=id=ca,src={ca}",
    } < {*command}
    assert capsys.readouterr().err == "installing the debugger once (requirements/debugger.txt)\n"


def test_two_runs_may_install_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    there = debugger.directory("linux/amd64")
    there.parent.mkdir(parents=True)  # by the other run

    def lose_the_race(command: list[str]) -> None:
        build(command)
        (there / "debugpy").mkdir(parents=True)

    monkeypatch.setattr(process, "run", lose_the_race)

    assert debugger.prepare(SOURCES) == there
    assert [one.name for one in there.iterdir()] == ["debugpy"]


def test_the_stage_is_in_the_dockerfile_and_reads_the_requirements() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert f" AS {debugger.TARGET}\n" in dockerfile
    assert debugger.REQUIREMENTS in dockerfile


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
    found = debugger.directory("linux/amd64")

    assert found != debugger.directory("linux/arm64")
    assert found.parent.name == "debugger"
    assert len(found.name) == 16
