"""`inv deploy` and `inv rollback` on a swarm, with a manager that answers as a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import (
    CommandFailed,
    DeployFailed,
    DeployRefused,
    NothingToRollBack,
    NotRunning,
)
from letta_stack.image.sources import Sources
from letta_stack.operate import backup as backups
from letta_stack.operate import dump, plan, swarm_rollout
from letta_stack.operate.deploy import Order
from letta_stack.operate.holders.in_swarm import InSwarm
from letta_stack.secrets import store
from letta_stack.topology import swarm_lifecycle
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.deployed import IMAGE_VARIABLE
from letta_stack.topology.runners.compose import Compose
from tests.support import compose_model, fake_swarm
from tests.support.fake_swarm import Engine

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)
CHOSEN = Clustered.of("swarm")
MIGRATIONS = [["a", "", ""]]
made: list[str] = []  # backups, by their reason


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Replace docker; compose renders the image that its variable names."""
    compose_model.write_files(tmp_path)
    monkeypatch.setattr(store, "SECRETS", tmp_path / "secrets")
    monkeypatch.setattr(swarm_lifecycle, "STATE", tmp_path / "state")

    def config(compose: Compose) -> dict[str, Any]:
        found = compose_model.model(tmp_path)
        directory = tmp_path / "secrets" / "letta-stack-swarm"
        for name, file in (
            ("database-uri", "database-uri"),
            ("database-login", "database-login.sql"),
        ):
            found["secrets"][name]["file"] = str(directory / file)
        own = found["services"][SERVER]["image"]
        for one in found["services"].values():
            if one["image"] == own:
                one["image"] = compose.variables.get(IMAGE_VARIABLE, own)
        return found

    monkeypatch.setattr(Compose, "config", config)
    monkeypatch.setattr(InSwarm, "postgres", lambda _: "database")
    monkeypatch.setattr(dump, "facts", lambda _: {"revision": "a"})
    monkeypatch.setattr(plan, "migrations_of", lambda _: MIGRATIONS)
    monkeypatch.setattr(backups, "before", lambda *_, **given: made.append(given["reason"]))
    made.clear()
    return fake_swarm.replaced(monkeypatch, Engine())


def start(**given: str) -> None:
    swarm_lifecycle.up(Clustered.of("swarm", **given), SOURCES, yes=False)


def deploy(
    image: str, *, dry_run: bool = False, maintenance: bool = False, backup: bool = True
) -> None:
    order = Order(image=image, dry_run=dry_run, maintenance=maintenance, backup=backup)
    swarm_rollout.deploy(CHOSEN, order)


def rollback(*, dry_run: bool = False) -> None:
    swarm_rollout.rollback(CHOSEN, dry_run=dry_run)


def test_a_deployment_repeats_the_choices_of_up_with_another_image(engine: Engine) -> None:
    start(replicas="3")

    deploy("me/letta:2")

    assert engine.image() == "me/letta:2"
    assert engine.stack["services"][SERVER]["deploy"]["replicas"] == 3
    assert made == ["before me/letta:2"]


def test_a_dry_run_says_what_would_be_and_changes_nothing(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    start()
    before = engine.image()

    deploy("me/letta:2", dry_run=True)

    assert engine.image() == before
    assert made == []
    assert f"{before} -> me/letta:2" in capsys.readouterr().err


def test_servers_that_would_not_survive_a_migration_stop_before_it_if_that_is_allowed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(replicas="3")
    stopped: list[int] = []
    monkeypatch.setattr(InSwarm, "stop", lambda _: stopped.append(1))
    breaking = [*MIGRATIONS, ["b", "a", "op.drop_table('agents')"]]
    monkeypatch.setattr(plan, "migrations_of", lambda _: breaking)

    with pytest.raises(DeployRefused, match="--maintenance"):
        deploy("me/letta:2")
    assert stopped == []
    deploy("me/letta:2", maintenance=True, backup=False)

    assert (stopped, made, engine.image()) == ([1], [], "me/letta:2")


def test_a_window_that_fails_brings_as_many_servers_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(replicas="3")
    breaking = [*MIGRATIONS, ["b", "a", "op.drop_table('agents')"]]
    monkeypatch.setattr(plan, "migrations_of", lambda _: breaking)
    spec = engine.services[SERVER]["Spec"]
    monkeypatch.setattr(InSwarm, "stop", lambda _: spec["Mode"].update(Replicated={"Replicas": 0}))
    engine.update = "rollback_completed"

    with pytest.raises(DeployFailed):
        deploy("me/letta:2", maintenance=True)

    assert f"docker service scale --detach=true letta-stack-swarm_{SERVER}=3" in engine.commands


def test_an_image_whose_migrations_cannot_be_read_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start()

    def fails(_: str) -> None:
        raise CommandFailed(["docker"], 125, "no such image")

    monkeypatch.setattr(plan, "migrations_of", fails)

    with pytest.raises(DeployRefused, match=r"no such image.*docker pull me/letta:2"):
        deploy("me/letta:2")


def test_servers_that_do_not_become_healthy_are_taken_back_with_all_that_changed(
    engine: Engine,
) -> None:
    start()
    before = engine.image()
    engine.update = "rollback_completed"

    with pytest.raises(DeployFailed, match=f"the servers run {before} again"):
        deploy("me/letta:2")

    assert engine.image() == before
    images = {
        name: one["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
        for name, one in engine.services.items()
        if name != "letta-migrate"
    }
    assert "me/letta:2" not in images.values()


def test_what_up_did_not_start_is_not_deployed_to(engine: Engine) -> None:
    with pytest.raises(NotRunning, match="inv up --env swarm"):
        deploy("me/letta:2")
    start()
    engine.services[SERVER]["Spec"]["Labels"] = {}

    with pytest.raises(DeployRefused, match="`inv up` did not start"):
        deploy("me/letta:2")


def test_a_rollback_brings_the_image_from_before(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    start()
    first = engine.image()
    with pytest.raises(NothingToRollBack, match="inv deploy --env swarm --image REF"):
        rollback()
    deploy("me/letta:2")
    start()  # another `inv up` with what compose has by itself
    deploy("me/letta:2")
    deploy("me/letta:3")

    rollback(dry_run=True)
    assert engine.image() == "me/letta:3"
    rollback()

    assert engine.image() == "me/letta:2"
    rollback()
    assert engine.image() == "me/letta:3"
    assert first not in capsys.readouterr().out.splitlines()[-1]


def test_a_rollback_that_fails_is_taken_back(engine: Engine) -> None:
    start()
    deploy("me/letta:2")
    engine.update = "rollback_completed"

    with pytest.raises(DeployFailed, match="the servers run me/letta:2 again"):
        rollback()

    assert engine.image() == "me/letta:2"


def test_an_earlier_failure_is_not_taken_for_one_of_a_rollback(engine: Engine) -> None:
    start()
    deploy("me/letta:2")
    engine.services["letta-collector"] = {
        "Spec": {
            **engine.services["letta-db"]["Spec"],
            "Name": "letta-stack-swarm_letta-collector",
        },
        "PreviousSpec": None,
        "UpdateStatus": {"State": "rollback_completed"},
    }

    rollback()

    assert engine.image() != "me/letta:2"
