"""Each fault does what it says, and is undone whatever happens meanwhile."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.errors import CommandFailed, NotRunning
from letta_stack.operate import postgres
from letta_stack.operate.faults import catalogue, disk, run
from letta_stack.operate.faults.client import Client
from letta_stack.operate.faults.load import Load
from letta_stack.operate.faults.scene import Scene
from letta_stack.operate.faults.stack import Stack
from letta_stack.operate.faults.workload import Model
from tests.support.fake_engine import FakeEngine, container_states, project

if TYPE_CHECKING:
    from letta_stack.operate.faults.model import Fault

PROCESSES = """PID PPID COMMAND
11 1 /sbin/docker-init -- /init serve
12 11 /opt/letta/venv/bin/python -m entrypoint standalone serve
18 12 /opt/letta/venv/bin/python -m entrypoint standalone serve
13 11 nginx: master process nginx
14 13 nginx: worker process
15 11 postgres: walwriter
16 11 postgres: letta letta 10.0.0.1 idle
17 11 redis-server *:6379
"""
LIMITS = '{"Memory": 4294967296, "MemorySwap": 8589934592, "NanoCpus": 2000000000}'
ANSWERS = {
    "docker top": PROCESSES,
    "State.Pid": "11\n",
    "HostConfig": LIMITS,
    "Config.Env": '["LETTA_STACK_DISK_RESERVE=96"]',
    "memory.current": "400000000\n",
    "docker events": "oom\n",
    "SystemTime": "2026-01-01T00:00:00Z\n",
}


class Interruption(Exception):
    """Stands for Ctrl-C."""


def fault(name: str) -> Fault:
    (found,) = catalogue.choose([name])
    return found


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    return FakeEngine(ANSWERS).install(monkeypatch)


@pytest.fixture
def scene() -> Scene:
    client = Client("http://localhost:1", "secret")
    names = tuple(one.container for one in container_states())
    stack = Stack(project(), client, "me/letta:1", names)
    return Scene(stack, Load(client, ()), Random(7), Model("stack-faults-model"))


def interrupted(name: str, scene: Scene) -> None:
    """Cause a fault and press Ctrl-C."""
    with pytest.raises(Interruption), fault(name).act(scene):
        raise Interruption


@pytest.mark.parametrize(
    ("name", "done", "undone"),
    [
        ("replica-gone", "docker kill stack-letta-server-", "docker start stack-letta-server-"),
        ("gateway-gone", "docker kill stack-letta-nginx-5", "docker start stack-letta-nginx-5"),
        ("database-paused", "docker pause stack-letta-db-3", "docker unpause stack-letta-db-3"),
        ("redis-frozen", "docker pause stack-letta-redis-4", "docker unpause stack-letta-redis-4"),
        ("engine-restart", "docker stop --time 10 stack-letta", "docker start stack-letta"),
        ("provider-429", "printf %s 'limit' > /tmp/mode", "printf %s '' > /tmp/mode"),
        ("provider-hangs", "printf %s 'hang' > /tmp/mode", "docker restart --time 0 stack-faults"),
        ("provider-gone", "docker kill stack-faults-model", "docker start stack-faults-model"),
        ("packets-lost", "iptables -w -I INPUT -p tcp --dport 5432", "iptables -w -D OUTPUT"),
        ("dns-gone", "iptables -w -I OUTPUT -d 127.0.0.11", "iptables -w -D OUTPUT -d 127.0.0.11"),
        ("database-slow", "tc qdisc add dev eth0 root tbf", "tc qdisc del dev eth0 root"),
        ("replica-slow", "docker update --cpus 0.2 stack", "docker update --cpus 2 stack"),
        ("disk-full", "head -c", "rm -f /var/lib/postgresql/data/filler"),
        (
            "memory-limit",
            "docker update --memory 425165824 --memory-swap 425165824",
            "docker update --memory 4294967296 --memory-swap 8589934592",
        ),
    ],
)
def test_a_fault_is_undone_also_when_it_is_interrupted(
    name: str, done: str, undone: str, engine: FakeEngine, scene: Scene
) -> None:
    interrupted(name, scene)

    (begun, *_) = [number for number, line in enumerate(engine.said) if done in line]
    assert any(undone in line for line in engine.said[begun + 1 :])


def test_a_rule_that_a_restart_has_forgotten_is_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    engine = FakeEngine(ANSWERS, broken=["iptables -w -D"]).install(monkeypatch)

    interrupted("dns-gone", scene)

    assert sum("-D OUTPUT" in line for line in engine.said) == 3  # two servers, the gateway


def test_the_other_containers_are_cured_when_a_rule_cannot_be_set(
    monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    engine = FakeEngine(ANSWERS, broken=["container:stack-letta-server-2"]).install(monkeypatch)

    with pytest.raises(CommandFailed), fault("dns-gone").act(scene):
        pytest.fail("there is no rule")

    assert any("container:stack-letta-server-1" in line and " -D " in line for line in engine.said)


@pytest.mark.parametrize(
    ("name", "pids"),
    [
        ("server-killed", "18"),
        ("servers-killed", "18 18"),
        ("server-init-killed", "11"),
        ("gateway-master-killed", "13"),
        ("gateway-worker-killed", "14"),
        ("database-backend-killed", "16"),
        ("database-walwriter-killed", "15"),
        ("redis-killed", "17"),
        ("host-reboot", "11 11 11 11 11 11"),
    ],
)
def test_the_process_that_is_meant_is_killed_from_outside(
    name: str, pids: str, engine: FakeEngine, scene: Scene
) -> None:
    with fault(name).act(scene):
        assert engine.said[-1].endswith(f"me/letta:1 /host sh -c kill -KILL {pids}")
        assert "--privileged --pid=host" in engine.said[-1]


def test_a_process_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    FakeEngine({**ANSWERS, "docker top": "PID PPID COMMAND\n"}).install(monkeypatch)

    with pytest.raises(NotRunning, match="no such process"), fault("redis-killed").act(scene):
        pytest.fail("nothing was killed")


def test_memory_has_to_be_named_as_the_reason(
    monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    FakeEngine({**ANSWERS, "docker events": "die\n"}).install(monkeypatch)

    with fault("memory-limit").act(scene):
        pass

    assert scene.breaches == [
        "not so: the engine's events name memory as the reason",
        "not so: so does the container's own log",
    ]


ON, OFF = '["LETTA_STACK_DISK_RESERVE=96"]', '["LETTA_STACK_DISK_RESERVE=off"]'


@pytest.mark.parametrize(
    ("answers", "free_mib", "reason"),
    [
        ({"Config.Env": OFF, "df -Pk": "100\n50\n"}, 300, "keep no reserve"),
        ({"Config.Env": ON, "df -Pk": "100\n100\n"}, 300, "the engine's own disk"),
        ({"Config.Env": ON, "df -Pk": "100\n50\n"}, 3000, "has 2.9 GiB free"),
        ({"Config.Env": ON, "df -Pk": "100\n50\n"}, 90, "has 90.0 MiB free"),
        ({"Config.Env": ON, "df -Pk": "100\n50\n"}, 300, ""),
    ],
)
def test_only_a_small_disk_of_the_databases_own_is_filled(
    answers: dict[str, str],
    free_mib: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    scene: Scene,
) -> None:
    FakeEngine(answers).install(monkeypatch)
    target = SimpleNamespace(value=lambda *_, **__: str(free_mib * disk.MIB))
    monkeypatch.setattr(postgres, "of", lambda _: target)

    found = fault("disk-full").needs(scene.stack)

    assert reason in found
    assert bool(reason) == bool(found)


def test_a_full_disk_that_refuses_nothing_is_a_breach(engine: FakeEngine, scene: Scene) -> None:
    with fault("disk-full").act(scene):
        assert engine.said

    assert scene.breaches == ["not so: writing was refused with 507 (0 times)"]


def test_a_tool_that_is_missing_is_the_reason_to_leave_a_fault_out(
    monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    FakeEngine(broken=["command -v tc"]).install(monkeypatch)

    assert fault("database-slow").needs(scene.stack) == "the engine's machine has no tc"
    assert fault("packets-lost").needs(scene.stack) == ""
    assert "inv certs.make" in fault("certificate-expired").needs(scene.stack)


def test_the_fault_that_cannot_be_caused_is_in_the_table(
    monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    FakeEngine(broken=["command -v tc"]).install(monkeypatch)

    outcome = run.one(scene.stack, scene.model, fault("database-slow"), 7)

    assert outcome.verdict == "skipped"
    assert outcome.skipped == "the engine's machine has no tc"


def test_the_choice_is_the_same_for_the_same_seed(engine: FakeEngine, scene: Scene) -> None:
    def victims(seed: int) -> list[Any]:
        scene.chance = Random(seed)
        return [scene.pick("letta-server") for _ in range(8)]

    assert victims(1) == victims(1)
    assert victims(1) != victims(2)
