"""What the faults of a cluster do, and when a namespace counts as whole; nothing is really broken."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.errors import CommandFailed, NotRunning
from letta_stack.operate.faults import cluster_faults
from letta_stack.operate.faults.client import Client
from letta_stack.operate.faults.cluster_stage import ClusterStage, Door, NodeClient
from letta_stack.operate.faults.load import Load
from letta_stack.operate.faults.scene import Scene
from letta_stack.operate.faults.workload import Model
from letta_stack.topology import trial_cluster
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.runners import kubernetes
from letta_stack.topology.runners.kubernetes import Kubernetes
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Sequence

CLUSTER = Clustered.of("kubernetes", project="mine", context="letta-stack")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note every command; each succeeds."""
    seen: list[list[str]] = []

    def capture(argv: Sequence[str], **_: object) -> str:
        seen.append(list(argv))
        return ""

    monkeypatch.setattr(process, "capture", capture)
    monkeypatch.setattr(kubernetes, "program", lambda **_: "kubectl")
    monkeypatch.setattr(trial_cluster, "up", lambda: seen.append(["up"]))
    monkeypatch.setattr(trial_cluster, "published", lambda _: f"127.0.0.1:{len(seen)}")
    pods = [
        State("letta-server", "server-1", "running", "healthy", 0),
        State("letta-server", "server-2", "running", "starting", 0),
        State("letta-migrate", "migrate", "exited", "", 0),
    ]
    monkeypatch.setattr(Kubernetes, "states", lambda _: pods)
    status = {"containerStatuses": [{"containerID": "containerd://abc"}]}
    monkeypatch.setattr(Kubernetes, "get", lambda *_: [{"status": status}])
    return seen


@pytest.fixture
def scene() -> Scene:
    client = NodeClient("", "secret", door=Door("http://127.0.0.1:1"))
    stage = ClusterStage(CLUSTER, client, "me/letta:1")
    return Scene(stage, Load(client, ()), Random(7), Model("model"))


def act(name: str, scene: Scene) -> None:
    (fault,) = [one for one in cluster_faults.FAULTS if one.name == name]
    with fault.act(scene):
        pass


def test_a_pod_that_is_ready_is_killed_in_the_runtime(
    commands: list[list[str]], scene: Scene
) -> None:
    act("server-killed", scene)

    (command,) = commands
    assert command[:3] == ["docker", "exec", trial_cluster.NAME]
    assert command[-4:] == ["kill", "--signal", "SIGKILL", "abc"]
    assert scene.notes == ["SIGKILL to the first process of server-1"]


def test_a_pod_is_drained_or_lost(commands: list[list[str]], scene: Scene) -> None:
    act("server-pod-deleted", scene)
    act("server-pod-lost", scene)

    drained, lost = commands
    assert drained[-4:] == ["delete", "pod", "server-1", "--wait=false"]
    assert lost[-2:] == ["--force", "--grace-period=0"]


def test_a_part_that_is_held_back_is_released_whatever_happens(
    commands: list[list[str]], scene: Scene
) -> None:
    (fault,) = [one for one in cluster_faults.FAULTS if one.name == "api-server-gone"]
    with pytest.raises(KeyboardInterrupt), fault.act(scene):
        raise KeyboardInterrupt

    assert "touch /run/node/kube-apiserver.hold; kill -KILL" in commands[0][-1]
    assert commands[-1][-3:] == ["rm", "-f", "/run/node/kube-apiserver.hold"]


def test_clients_find_a_node_that_was_started_again(
    commands: list[list[str]], scene: Scene
) -> None:
    act("node-restarted", scene)

    assert commands == [["docker", "kill", trial_cluster.NAME], ["up"]]
    assert scene.stage.client.base() == "http://127.0.0.1:2"


def test_a_service_without_a_pod_is_said(commands: list[list[str]], scene: Scene) -> None:
    with pytest.raises(NotRunning, match="letta-nginx of mine has no pod that is ready"):
        act("gateway-killed", scene)
    assert commands == []


@pytest.mark.parametrize(
    ("status", "answers", "ready"),
    [
        ({"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2}, True, True),
        ({"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2}, False, False),
        ({"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2}, True, False),
        ({"replicas": 3, "readyReplicas": 2, "updatedReplicas": 2}, True, False),
        (None, True, False),
    ],
)
def test_a_namespace_is_whole_with_every_pod_and_an_answer(
    monkeypatch: pytest.MonkeyPatch, scene: Scene, status: Any, answers: bool, ready: bool
) -> None:
    def get(*_: object) -> list[dict[str, Any]]:
        if status is None:
            raise CommandFailed(["kubectl"], 1, "connection refused")
        return [{"spec": {"replicas": 2}, "status": status}]

    monkeypatch.setattr(Kubernetes, "get", get)
    monkeypatch.setattr(Client, "answers", lambda _: answers)

    assert scene.stage.ready() is ready
