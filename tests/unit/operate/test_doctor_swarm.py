"""What `inv doctor --env swarm` says of a swarm."""

from __future__ import annotations

from typing import Any

import pytest

from letta_stack.errors import Unhealthy
from letta_stack.operate.doctor import data, host, inside, run, swarm
from letta_stack.operate.doctor.model import FAIL, OK, WARN, ok
from letta_stack.operate.holders.in_swarm import InSwarm
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.runners.swarm import Swarm
from letta_stack.topology.swarm_checks import Host
from tests.support import fake_swarm
from tests.support.fake_swarm import Engine

CLUSTER, MINE = Clustered.of("swarm"), Swarm("letta-stack-swarm")


def known(*managers: str, **more: Any) -> list[Host]:
    usual: dict[str, Any] = {"data": False, "takes": True} | more
    return [
        Host(str(number), f"host{number}", manager=one, **usual)
        for number, one in enumerate(managers)
    ]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    found = fake_swarm.replaced(monkeypatch, Engine(labels=[{"letta-stack.data": "true"}]))
    for name in CLUSTER.topology.names:
        mode = {"ReplicatedJob": {}} if name == "letta-migrate" else {"Replicated": {"Replicas": 1}}
        spec = {
            "Name": f"letta-stack-swarm_{name}",
            "TaskTemplate": {"ContainerSpec": {"Image": "x"}},
            "Mode": {"Global": {}} if name == "letta-nginx" else mode,
            "EndpointSpec": {"Ports": [{"TargetPort": 8080}]},
        }
        found.services[name] = {"Spec": spec, "PreviousSpec": None}
    return found


@pytest.mark.parametrize(
    ("managers", "state"),
    [
        (["reachable"], OK),
        (["reachable"] * 3, OK),
        (["reachable"] * 5, OK),
        (["reachable", ""], WARN),
        (["reachable"] * 2, WARN),
        (["reachable"] * 4, WARN),
        (["reachable", "reachable", "unreachable"], WARN),
    ],
)
def test_the_loss_of_one_manager_must_leave_a_majority(managers: list[str], state: str) -> None:
    assert swarm.managers(known(*managers)).state == state


def test_a_host_that_takes_no_tasks_is_named() -> None:
    assert swarm.hosts(known("reachable", takes=False)).seen == "host0 of 1 take no tasks"
    assert swarm.hosts(known("reachable")).state == OK


@pytest.mark.parametrize(
    ("hosts", "state", "seen"),
    [
        (known("", data=True), OK, "host0 has them"),
        (known("", data=True, takes=False), FAIL, "takes no tasks"),
        (known("", "", data=True), FAIL, "host0, host1 has the label"),
        (known(""), FAIL, "no host has the label"),
    ],
)
def test_one_host_has_the_volumes(hosts: list[Host], state: str, seen: str) -> None:
    found = swarm.volumes(hosts)

    assert (found.state, seen in found.seen) == (state, True), found.seen


def test_a_stack_that_works_is_healthy(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("engine", "pins", "settings", "secret_files"):
        monkeypatch.setattr(host, name, lambda _, name=name: ok(name, "fine"))
    monkeypatch.setattr(data, "kept", lambda *_: ok("backups", "fine"))
    monkeypatch.setattr(swarm, "database", lambda *_: [ok("vector", "fine")])

    run.doctor_of_swarm(CLUSTER, as_data=False)

    assert not capsys.readouterr().out.startswith("fail")
    engine.answers = False
    with pytest.raises(Unhealthy, match="letta-stack-swarm: API"):
        run.doctor_of_swarm(CLUSTER, as_data=True)


def test_the_database_is_asked_where_it_runs(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def gather(*given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        asked.extend(given)
        return {"databases": ["letta_restore_x"]}, {}

    monkeypatch.setattr(inside, "gather", gather)
    monkeypatch.setattr(inside, "general", lambda *_: [ok("vector", "fine")])
    monkeypatch.setattr(InSwarm, "postgres", lambda _: "there")

    assert [one.state for one in swarm.database(CLUSTER, MINE)] == [OK, WARN]
    assert asked == ["there", ["docker", "exec", "--interactive", "abc"]]


def test_a_database_that_does_not_answer_is_a_finding(engine: Engine) -> None:
    engine.here, engine.task = "", "Pending 1 second ago"

    (found,) = swarm.database(CLUSTER, MINE)

    assert (found.state, "no task of letta-server" in found.seen) == (FAIL, True)


def test_what_is_missing_is_counted(engine: Engine) -> None:
    engine.task = "Pending 1 second ago"
    del engine.services["letta-redis"]

    found = swarm.services(CLUSTER, MINE, known(""))

    assert (found.state, "letta-server 0 of 1" in found.seen) == (FAIL, True)
    assert found.seen.endswith("letta-redis missing")
    engine.services.clear()
    assert swarm.services(CLUSTER, MINE, known("")).seen == "none"


def test_an_update_that_was_taken_back_is_told(engine: Engine) -> None:
    engine.services["letta-server"]["UpdateStatus"] = {"State": "rollback_completed"}

    found = swarm.services(CLUSTER, MINE, known(""))

    assert (found.state, found.seen) == (WARN, "the last update of letta-server was taken back")


def test_failed_tasks_are_counted_by_service(engine: Engine) -> None:
    assert swarm.failures(MINE).state == OK
    engine.migration, engine.attempts = "Failed 1 hour ago", 2

    assert swarm.failures(MINE).seen == "2 of letta-migrate failed"


def test_a_gateway_that_nobody_reaches_fails(engine: Engine) -> None:
    engine.here = ""

    found = swarm.api(MINE)

    assert (found.state, "docker context create" in found.seen) == (FAIL, True)
