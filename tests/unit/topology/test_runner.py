"""Which commands the compose runner gives, and what it makes of their answers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import CommandFailed
from letta_stack.topology.runners import compose
from letta_stack.topology.runners.compose import Compose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

RUNNER = Compose("mine", "compose/single.yaml", {"A": "1"})
COMPOSE = RUNNER.argv()

Said = list[tuple[str, list[str], "Mapping[str, str] | None"]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """Every command, by the way in which it was started."""
    commands: Said = []

    def answering(kind: str, answer: object) -> Callable[..., object]:
        def start(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> object:
            commands.append((kind, [*argv], env))
            return answer

        return start

    answers = {"run": None, "call": 7, "capture": "one two\n", "probe": Completed(0, "[]", "")}
    for kind, answer in answers.items():
        monkeypatch.setattr(process, kind, answering(kind, answer))
    return commands


@pytest.mark.parametrize(
    ("verb", "kind", "arguments"),
    [
        (lambda: RUNNER.down(volumes=False), "run", ["down", "--remove-orphans"]),
        (RUNNER.restart, "run", ["restart"]),
        (lambda: RUNNER.restart("db"), "run", ["restart", "db"]),
        (RUNNER.ps, "call", ["ps", "--all"]),
        (RUNNER.show_config, "call", ["config"]),
        (
            lambda: RUNNER.logs(service="", tail=7, follow=False),
            "call",
            ["logs", "--tail", "7"],
        ),
        (
            lambda: RUNNER.logs(service="db", tail=7, follow=True),
            "call",
            ["logs", "--tail", "7", "--follow", "db"],
        ),
        (RUNNER.up, "probe", ["up", "--detach", "--remove-orphans", "--no-build"]),
        (
            lambda: RUNNER.up(["db"]),
            "probe",
            ["up", "--detach", "--remove-orphans", "--no-build", "db"],
        ),
        (
            lambda: RUNNER.run_once("job"),
            "run",
            ["run", "--rm", "--no-deps", "job"],
        ),
    ],
)
def test_each_verb_is_one_command_of_compose(
    verb: Callable[[], object], kind: str, arguments: list[str], said: Said
) -> None:
    answer = verb()

    assert said == [(kind, [*COMPOSE, *arguments], {"A": "1"})]
    assert answer == (7 if kind == "call" else None)


def test_other_containers_are_left_alone_when_a_service_grows(said: Said) -> None:
    RUNNER.scale("web", 3)

    options = ["--detach", "--no-build", "--no-deps", "--no-recreate"]
    command = [*COMPOSE, "up", *options, "--scale", "web=3", "web"]
    assert said == [("capture", command, {"A": "1"})]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compose, "ROOT", tmp_path)
    return tmp_path


def test_without_dotenv_and_override_only_the_files_of_the_project_are_named(
    checkout: Path,
) -> None:
    for name in ("compose.yaml", "overlay.yaml"):
        (checkout / name).touch()

    assert Compose("p", "compose.yaml", {}, ("overlay.yaml",)).argv("ps") == [
        *("docker", "compose", "--project-name", "p"),
        *("--file", f"{checkout}/compose.yaml", "--file", f"{checkout}/overlay.yaml"),
        "ps",
    ]


def test_dotenv_and_the_users_own_file_are_named_the_override_last(checkout: Path) -> None:
    for name in (".env", "compose.yaml", "compose.override.yaml", "overlay.yaml"):
        (checkout / name).touch()

    assert Compose("p", "compose.yaml", {}, ("overlay.yaml",)).argv("ps")[4:] == [
        *("--file", f"{checkout}/compose.yaml", "--file", f"{checkout}/overlay.yaml"),
        *("--file", f"{checkout}/compose.override.yaml"),
        *("--env-file", f"{checkout}/.env"),
        "ps",
    ]


@pytest.mark.parametrize(("terminal", "options"), [(True, []), (False, ["--no-TTY"])])
def test_a_command_gets_a_terminal_if_there_is_one(
    terminal: bool, options: list[str], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal)

    assert RUNNER.execute("db", ["id", "-u"]) == 7
    assert said == [("call", [*COMPOSE, "exec", *options, "db", "id", "-u"], {"A": "1"})]


def test_what_compose_could_not_start_is_an_error_with_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "probe", lambda *_, **__: Completed(3, "", "no such image\n"))

    with pytest.raises(CommandFailed) as raised:
        RUNNER.up()

    assert raised.value.exit_code == 3
    assert raised.value.last_line == "no such image"


def test_down_with_volumes_also_deletes_those_of_services_that_are_no_more(said: Said) -> None:
    RUNNER.down(volumes=True)

    runs = [(argv, variables) for how, argv, variables in said if how == "run"]
    assert runs == [
        ([*COMPOSE, "down", "--remove-orphans", "--volumes"], {"A": "1"}),
        (["docker", "volume", "rm", "one", "two"], None),
    ]
    removed = [argv for how, argv, _ in said if how == "probe"]
    assert removed == [["docker", "network", "rm", one] for one in ("one", "two")]


def test_volumes_are_those_with_the_projects_label(said: Said) -> None:
    assert RUNNER.volumes() == ["one", "two"]
    mine = "label=com.docker.compose.project=mine"
    assert said[0][1] == ["docker", "volume", "ls", "--quiet", "--filter", mine]


def test_states_are_asked_of_the_engine_for_this_project_without_one_off_containers(
    said: Said,
) -> None:
    assert RUNNER.states() == []

    (_, question, _), (_, inspect, _) = said
    assert question == [
        *("docker", "ps", "--all", "--quiet"),
        "--filter=label=com.docker.compose.project=mine",
        "--filter=label=com.docker.compose.oneoff=False",
    ]
    assert inspect == ["docker", "container", "inspect", "one", "two"]


def test_without_a_container_nothing_is_inspected(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "capture", lambda *_, **__: "\n")

    assert RUNNER.states() == []
    assert said == []


def test_the_model_is_what_compose_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def capture(argv: Sequence[str], *, env: Mapping[str, str]) -> str:
        asked.append((list(argv), env))
        return '{"services": {}}'

    monkeypatch.setattr(process, "capture", capture)

    assert RUNNER.config() == {"services": {}}
    assert asked == [([*COMPOSE, "config", "--format", "json"], {"A": "1"})]
