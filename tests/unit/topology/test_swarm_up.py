"""`inv up --env swarm` and what is between, with an engine that answers as a test says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.engine import inspect
from letta_stack.errors import (
    BadValue,
    ClusterLacks,
    ClusterUnreachable,
    CommandFailed,
    NotConfirmed,
    NotRunning,
    RolloutFailed,
)
from letta_stack.image.sources import Sources
from letta_stack.secrets import store
from letta_stack.topology import swarm_lifecycle
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.swarm import parse_task
from tests.support import compose_model

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)
SERVER = "letta-stack-swarm_letta-server"


@dataclass
class Engine:
    """An engine in the place of docker."""

    manager: bool = True
    labels: Sequence[dict[str, str]] = ({},)
    task: str = "Running 3 seconds ago"
    migration: str = "Complete 1 second ago"
    attempts: int = 1
    update: str = "completed"
    volumes: str = ""
    error: str = ""
    here: str = "abc"
    answers: bool = True
    stack: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    def capture(self, argv: Sequence[str], *, env: dict[str, str] | None = None, **_: Any) -> str:
        ended = self.probe(argv, env=env)
        if not ended.ok:
            raise CommandFailed(argv, ended.exit_code, ended.stderr)
        return ended.stdout

    def run(self, argv: Sequence[str], **_: Any) -> None:
        self.capture(argv)

    def call(self, argv: Sequence[str], **_: Any) -> int:
        return self.probe(argv).exit_code

    def probe(  # noqa: PLR0911 - one for each question
        self, argv: Sequence[str], *, env: dict[str, str] | None = None, **_: Any
    ) -> Completed:
        self.commands.append(" ".join(argv))
        match list(argv[1:]):
            case ["info", _]:
                return said(
                    json.dumps({"LocalNodeState": "pending", "ControlAvailable": self.manager})
                )
            case ["node", "ls", *_]:
                return said("\n".join(str(number) for number in range(len(self.labels))))
            case ["node", "inspect", *_]:
                return said(json.dumps([{"Spec": {"Labels": one}} for one in self.labels]))
            case ["stack", "deploy", *_, option, _]:
                if self.error:
                    return Completed(1, "", f"{self.error}\n")
                self.stack = yaml.safe_load(Path(option.partition("=")[2]).read_text())
                self.environment = env or {}
            case ["stack", "ps", *_]:
                return said("\n".join(json.dumps(row) for row in self._tasks()))
            case ["stack", "services", *_]:
                return said(
                    "\n".join(
                        f"letta-stack-swarm_{name}" for name in self.stack.get("services", {})
                    )
                )
            case ["service", "inspect", *names]:
                return said(
                    json.dumps(
                        [
                            {"Spec": {"Name": one}, "UpdateStatus": {"State": self.update}}
                            for one in names
                        ]
                    )
                )
            case ["volume", "ls", *_]:
                return said(self.volumes)
            case ["ps", *_]:
                return said(self.here)
            case ["exec", _, "curl", *_]:
                return Completed(0 if self.answers else 22, "", "")
            case _:
                pass
        return said("")

    def _tasks(self) -> list[dict[str, str]]:
        return [
            {
                "ID": f"{name}.{slot}.{attempt}",
                "Name": f"letta-stack-swarm_{name}.{slot}",
                "CurrentState": self.migration if name == "letta-migrate" else self.task,
                "Error": "",
            }
            for name, body in self.stack.get("services", {}).items()
            for slot in range(1, int(body["deploy"].get("replicas", 1)) + 1)
            for attempt in range(self.attempts if name == "letta-migrate" else 1)
        ]


def said(text: str) -> Completed:
    return Completed(0, text, "")


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    compose_model.write_files(tmp_path)
    found = compose_model.model(tmp_path)
    monkeypatch.setattr(store, "SECRETS", tmp_path / "secrets")
    directory = tmp_path / "secrets" / "letta-stack-swarm"
    for name, file in (("database-uri", "database-uri"), ("database-login", "database-login.sql")):
        found["secrets"][name]["file"] = str(directory / file)
    monkeypatch.setattr(Compose, "config", lambda _: found)
    monkeypatch.setattr(swarm_lifecycle, "STATE", tmp_path / "state")
    return found


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    found = Engine()
    for name in ("capture", "run", "call", "probe"):
        monkeypatch.setattr(process, name, getattr(found, name))
    monkeypatch.setattr(inspect, "require", lambda: None)
    monkeypatch.setattr(Sources, "prepare", lambda *_, **__: {})
    return found


def up(**given: str) -> None:
    swarm_lifecycle.up(Clustered.of("swarm", **given), SOURCES, yes=False)


def test_what_is_deployed_has_versions_of_secrets_and_keys_from_the_environment(
    engine: Engine, model: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    model["services"]["letta-server"]["environment"]["OPENAI_API_KEY"] = "sk-1"

    up(replicas="3")

    assert engine.stack["services"]["letta-server"]["deploy"]["replicas"] == 3
    assert engine.environment == {"OPENAI_API_KEY": "sk-1"}
    assert engine.stack["secrets"]["database-uri"]["name"].startswith(
        "letta-stack-swarm_database-uri-"
    )
    assert "the API is on port 8283" in capsys.readouterr().out


def test_every_config_that_is_deployed_has_its_file(engine: Engine, tmp_path: Path) -> None:
    up()

    directory = tmp_path / "state" / "letta-stack-swarm.stack"
    for body in engine.stack["configs"].values():
        assert (directory / body["file"]).is_file()


def test_the_only_host_has_the_volumes(engine: Engine) -> None:
    up()

    assert "docker node update --label-add letta-stack.data=true 0" in engine.commands


def test_of_several_hosts_one_must_be_chosen(engine: Engine) -> None:
    engine.labels = ({}, {})

    with pytest.raises(ClusterLacks, match="docker node update --label-add"):
        up()

    engine.labels = ({}, {"letta-stack.data": "true"})
    up()


def test_an_engine_that_manages_no_swarm_is_refused(engine: Engine) -> None:
    engine.manager = False

    with pytest.raises(ClusterUnreachable, match=r"it is pending.*docker swarm init"):
        up()

    assert engine.stack == {}


@pytest.mark.parametrize("state", ["rollback_completed", "paused"])
def test_an_update_that_was_taken_back_has_failed(engine: Engine, state: str) -> None:
    engine.update = state

    with pytest.raises(RolloutFailed, match="the old ones are back"):
        up()


def test_a_migration_that_failed_too_often_ends_the_wait(engine: Engine) -> None:
    engine.migration = "Failed 1 second ago"
    engine.attempts = 4

    with pytest.raises(RolloutFailed, match="letta-migrate has failed 4 times"):
        up()


def test_what_docker_refuses_is_said(engine: Engine) -> None:
    engine.error = "services.x Additional property y is not allowed"

    with pytest.raises(RolloutFailed, match="Additional property y"):
        up()


@pytest.mark.parametrize(
    ("task", "migration", "update"),
    [
        ("Starting 1 second ago", "Complete 1 second ago", "completed"),
        ("Running 1 second ago", "Running 1 second ago", "updating"),
    ],
)
def test_what_takes_too_long_is_said_service_by_service(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, task: str, migration: str, update: str
) -> None:
    engine.task, engine.migration, engine.update = task, migration, update
    monkeypatch.setattr(swarm_lifecycle, "READY_SECONDS", 0.0)

    with pytest.raises(RolloutFailed, match=r"not ready after 0 s: .*letta-server"):
        up()


def test_it_is_up_when_the_gateway_has_found_a_server(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm_lifecycle, "ANSWER_SECONDS", 0.0)

    up()
    asked = "docker exec abc curl --silent --fail http://127.0.0.1:8080/health"
    assert asked in engine.commands

    engine.answers = False
    with pytest.raises(RolloutFailed, match=r"reached no server .*_letta-nginx"):
        up()


def test_a_gateway_on_another_host_is_not_asked(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.here, engine.answers = "", False

    up()

    assert "another host" in capsys.readouterr().err


def test_the_tasks_are_handled_by_their_services(engine: Engine) -> None:
    up()
    mine = Clustered.of("swarm")

    assert swarm_lifecycle.ps(mine) == 0
    assert swarm_lifecycle.logs(mine, service="", tail=5, follow=True) == 0
    assert swarm_lifecycle.execute(mine, service="", command=["id"]) == 0
    swarm_lifecycle.restart(mine, service="letta-server")

    assert f"docker service logs --tail=5 --follow {SERVER}" in engine.commands
    assert "docker exec --interactive abc id" in engine.commands
    assert f"docker service update --force --detach=true {SERVER}" in engine.commands


def test_what_does_not_run_cannot_be_handled(engine: Engine) -> None:
    mine = Clustered.of("swarm")

    with pytest.raises(NotRunning, match="inv up --env swarm"):
        swarm_lifecycle.restart(mine, service="")
    with pytest.raises(BadValue, match="no command given"):
        swarm_lifecycle.execute(mine, service="", command=[])
    with pytest.raises(BadValue, match="--service 'x'"):
        swarm_lifecycle.restart(mine, service="x")
    up()
    engine.here = ""
    with pytest.raises(NotRunning, match="runs on this host"):
        swarm_lifecycle.execute(mine, service="", command=["id"])


def test_down_keeps_the_data_unless_it_is_told_to_delete_them(engine: Engine) -> None:
    engine.volumes = "letta-stack-swarm_db"
    mine = Clustered.of("swarm")

    swarm_lifecycle.down(mine, volumes=False, yes=False)
    with pytest.raises(NotConfirmed, match="letta-stack-swarm_db"):
        swarm_lifecycle.down(mine, volumes=True, yes=False)
    assert not any("volume rm" in one for one in engine.commands)

    swarm_lifecycle.down(mine, volumes=True, yes=True)
    assert engine.commands[-1] == "docker volume rm letta-stack-swarm_db"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("Running 1 minute ago", ""), ("running", 0)),
        (("Starting 1 second ago", ""), ("created", 0)),
        (("Failed 2 seconds ago", '"task: non-zero exit (71)"'), ("exited", 71)),
        (("Rejected 2 seconds ago", "no such image"), ("exited", 1)),
        (("Complete 2 seconds ago", ""), ("exited", 0)),
    ],
)
def test_a_task_s_state_is_read(row: tuple[str, str], words: tuple[str, int]) -> None:
    found = parse_task("a", {"Name": "a_letta-db.1", "CurrentState": row[0], "Error": row[1]})

    assert (found.service, found.state, found.exit_code) == ("letta-db", *words)
