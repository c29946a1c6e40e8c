"""What is started before a release, what is asked of it, and what is left behind: nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import CommandFailed, DoesNotStart, VersionsDisagree
from letta_stack.image import third_party
from letta_stack.registry.layout import Layout
from letta_stack.release import trial_start, version_check
from letta_stack.release.tags import parse_version
from tests.support.layouts import layer, write_layout
from tests.support.scripted import answer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WANTED = parse_version("0.16.8-r2")


@dataclass
class Engine:
    """An engine with one container, and a server that answers from a list; the last answer stays."""

    answers: list[requests.Response | Exception]
    running: str = "true"
    port: str = "127.0.0.1:40001\n[::1]:40002\n"
    log: str = ""
    fails: str = ""
    commands: list[str] = field(default_factory=list)
    asked: list[tuple[str, float]] = field(default_factory=list)

    def capture(self, argv: Sequence[str]) -> str:
        self.commands.append(" ".join(argv))
        if self.fails and self.fails in argv:
            raise CommandFailed(argv, 125)
        return ""

    def probe(self, argv: Sequence[str]) -> Completed:
        command = " ".join(argv)
        if command.startswith("docker port"):
            assert command.endswith("8283/tcp")
            return Completed(0, self.port, "")
        if command.startswith("docker container inspect --format={{.State.Running}} letta-stack-"):
            return Completed(0, f"{self.running}\n", "")
        if command.startswith("docker logs --tail=1 letta-stack-release-"):
            return Completed(0, "", self.log)
        self.commands.append(command)
        return Completed(0, "", "")

    def get(self, url: str, *, timeout: float) -> requests.Response:
        self.asked.append((url, timeout))
        reply = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(reply, Exception):
            raise reply
        return reply


def healthy(version: str = "0.16.8") -> requests.Response:
    return answer(body={"version": version, "status": "ok"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "x.tar", {"linux/arm64": [layer({"a": b"1"})]})


def start(
    path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, *, native: str = "linux/arm64"
) -> list[str]:
    """Check the image at ``path`` on an engine; return what was said."""
    monkeypatch.setattr(process, "capture", engine.capture)
    monkeypatch.setattr(process, "probe", engine.probe)
    monkeypatch.setattr(requests, "get", engine.get)
    monkeypatch.setattr(third_party, "native", lambda: native)
    monkeypatch.setattr(third_party, "is_local", lambda name: name in engine.commands)
    lines: list[str] = []
    version_check.check_answer(path, WANTED, lines.append)
    return lines


def digest_of(path: Path) -> str:
    with Layout(path) as layout:
        return layout.image.root.digest


def test_an_image_is_loaded_started_asked_and_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine([requests.ConnectionError(), answer(503), healthy()])

    lines = start(path, engine, monkeypatch)

    digest = digest_of(path)
    load, run, remove, forget = engine.commands
    name = run.split("--name ")[1].split()[0]
    assert load == f"docker load --quiet --input {path}"
    assert run == (
        f"docker run --detach --pull=never --name {name} --publish=127.0.0.1::8283 {digest}"
    )
    assert name.startswith("letta-stack-release-")
    assert remove == f"docker rm --force --volumes {name}"
    assert forget == f"docker image rm --force {digest}"
    assert engine.asked == [("http://127.0.0.1:40001/v1/health/", trial_start.REQUEST_SECONDS)] * 3
    assert lines == ["started once: /v1/health/ answers Letta 0.16.8"]


def test_an_image_that_the_engine_has_stays_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine([healthy()], commands=[digest_of(path)])

    start(path, engine, monkeypatch)

    assert [command.split()[1] for command in engine.commands[1:]] == ["run", "rm"]


def test_what_was_built_for_other_machines_is_not_started(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine([])

    lines = start(path, engine, monkeypatch, native="linux/amd64")

    assert engine.commands == []
    assert lines == ["not started before the push: built for linux/arm64, this is linux/amd64"]


def test_a_server_of_another_version_is_not_released(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(VersionsDisagree, match=r"/v1/health/ says Letta 0\.16\.7"):
        start(path, Engine([healthy("0.16.7")]), monkeypatch)


@pytest.mark.parametrize(
    ("log", "words"), [("no database\n", "no database;"), ("", "it wrote nothing;")]
)
def test_a_container_that_ended_is_named_by_its_last_words(
    log: str, words: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine([requests.ConnectionError()], running="false", port="", log=log)

    with pytest.raises(DoesNotStart, match=f"ended at its start: {words}"):
        start(path, engine, monkeypatch)
    assert [command.split()[1] for command in engine.commands[-2:]] == ["rm", "image"]


def test_a_server_that_never_answers_is_given_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_start, "START_SECONDS", 0.2)

    with pytest.raises(DoesNotStart, match=r"does not start: gave up after 0\.2 s: .*still busy"):
        start(path, Engine([answer(503)], log="still busy"), monkeypatch)


@pytest.mark.parametrize(("fails", "left"), [("run", ["rm", "image"]), ("load", ["load"])])
def test_what_could_not_be_started_is_removed_too(
    fails: str, left: list[str], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine([], fails=fails)

    with pytest.raises(CommandFailed):
        start(path, engine, monkeypatch)
    assert [command.split()[1] for command in engine.commands][-len(left) :] == left
