"""`inv up --env swarm` and what is between, with an engine that answers as a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import (
    BadValue,
    ClusterLacks,
    ClusterUnreachable,
    HostUnreachable,
    NodesCannotPull,
    NotConfirmed,
    NotRunning,
    RolloutFailed,
)
from letta_stack.image.sources import Sources
from letta_stack.secrets import store
from letta_stack.topology import swarm_lifecycle, swarm_state
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.swarm import parse_task
from tests.support import compose_model, fake_swarm
from tests.support.fake_swarm import SERVER, Engine

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)


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
    return fake_swarm.replaced(monkeypatch, Engine())


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


def test_only_one_host_may_have_the_volumes(engine: Engine) -> None:
    engine.labels = [{"letta-stack.data": "true"}] * 2

    with pytest.raises(ClusterLacks, match=r"host0, host1 have the label.*--label-rm"):
        up()


def test_every_host_looks_for_its_images_before_anything_is_deployed(engine: Engine) -> None:
    engine.labels = ({}, {"letta-stack.data": "true"})
    engine.job = ("Rejected 1 second ago", "No such image")

    with pytest.raises(NodesCannotPull, match=r"host\d cannot get .* \(No such image\)"):
        up()

    assert engine.stack == {}
    assert engine.commands[-1].startswith("docker service rm letta-stack-swarm-image-0")


def test_a_host_looks_only_for_what_it_may_run(engine: Engine) -> None:
    engine.labels = ({}, {"letta-stack.data": "true"})

    up(replicas="2")

    created = [one for one in engine.commands if one.startswith("docker service create")]
    placed = [one for one in created if "--constraint=node.labels.letta-stack.data==true" in one]
    here = [engine.stack["services"][name]["image"] for name in ("letta-db", "letta-redis")]
    assert sorted(image for one in placed for image in here if image in one) == sorted(here)
    assert len(placed) == len(here)
    assert engine.stack["services"]["letta-nginx"]["deploy"]["mode"] == "global"


def test_a_kernel_that_cannot_encrypt_is_found_before_anything_is_deployed(engine: Engine) -> None:
    engine.labels = ({}, {"letta-stack.data": "true"})
    engine.job = ("Failed 1 second ago", '"task: non-zero exit (38)"')

    up()
    with pytest.raises(ClusterLacks, match=r"host\d cannot encrypt .*Function not implemented"):
        up(encrypted="yes")


def test_an_engine_that_manages_no_swarm_is_refused(engine: Engine) -> None:
    engine.manager = False

    with pytest.raises(ClusterUnreachable, match=r"it is pending.*docker swarm init"):
        up()

    assert engine.stack == {}


@pytest.mark.parametrize("state", ["rollback_completed", "paused"])
def test_an_update_that_was_taken_back_has_failed(
    engine: Engine, model: dict[str, Any], state: str
) -> None:
    engine.update = state
    up()
    model["services"]["letta-server"]["image"] = "other"

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
    monkeypatch.setattr(swarm_state, "READY_SECONDS", 0.0)

    with pytest.raises(RolloutFailed, match=r"not ready after 0 s: .*letta-server"):
        up()


def test_it_is_up_when_the_gateway_has_found_a_server(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm_state, "ANSWER_SECONDS", 0.0)

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
    with pytest.raises(HostUnreachable, match="docker context create host0"):
        swarm_lifecycle.execute(mine, service="", command=["id"])
    engine.contexts = ["host0"]
    swarm_lifecycle.execute(mine, service="", command=["id"])
    task = f"{SERVER}.1.letta-server.1.0"
    assert f"docker --context host0 exec --interactive {task} id" in engine.commands
    engine.task = "Pending 1 second ago"
    with pytest.raises(NotRunning, match="no task of letta-server does its work"):
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
