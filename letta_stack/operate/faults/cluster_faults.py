"""What breaks a cluster: its pods, the parts of its node, and the node itself."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.operate.faults.cluster_stage import ClusterStage
from letta_stack.operate.faults.model import KINDS, READ, Expect, Fault
from letta_stack.topology import trial_cluster
from letta_stack.topology.catalogue import DATABASE, GATEWAY, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from letta_stack.operate.faults.scene import Scene

    Act = Callable[[Scene], AbstractContextManager[None]]

GONE_SECONDS = 30.0
LONG_ENOUGH = 15.0  # for a part that is started again to have done its first round


def stage_of(scene: Scene) -> ClusterStage:
    """Return the namespace. Raises ``TypeError`` for a stack of one host."""
    if not isinstance(scene.stage, ClusterStage):
        raise TypeError(type(scene.stage))
    return scene.stage


def killed(service: str) -> Act:
    """Kill the first process of one pod's container."""

    @contextlib.contextmanager
    def act(scene: Scene) -> Iterator[None]:
        stage = stage_of(scene)
        pod = scene.chance.choice(stage.pods(service))
        scene.note(f"SIGKILL to the first process of {pod}")
        trial_cluster.kill_container(stage.identity(pod))
        yield

    return act


def deleted(service: str, *options: str) -> Act:
    """Delete one pod, as a drained node does, or with ``options`` as one that is lost."""

    @contextlib.contextmanager
    def act(scene: Scene) -> Iterator[None]:
        stage = stage_of(scene)
        pod = scene.chance.choice(stage.pods(service))
        scene.note(f"kubectl delete pod {pod} {' '.join(options)}".rstrip())
        process.capture(stage.mine.argv("delete", "pod", pod, "--wait=false", *options))
        yield

    return act


def restarted(part: str) -> Act:
    """Kill a part of the node, which is started again."""

    @contextlib.contextmanager
    def act(scene: Scene) -> Iterator[None]:
        scene.note(f"SIGKILL to {part}")
        trial_cluster.kill(part)
        yield

    return act


def gone(part: str) -> Act:
    """Kill a part of the node and hold it back."""

    @contextlib.contextmanager
    def act(scene: Scene) -> Iterator[None]:
        try:
            scene.note(f"SIGKILL to {part}, which is held back")
            trial_cluster.kill(part, hold=True)
            yield
        finally:
            trial_cluster.release(part)

    return act


@contextlib.contextmanager
def node(scene: Scene) -> Iterator[None]:
    """Kill everything at once, as a power failure does, and start the node again."""
    stage = stage_of(scene)
    try:
        scene.note(f"docker kill {trial_cluster.NAME}")
        process.capture(["docker", "kill", trial_cluster.NAME])
        yield
    finally:
        trial_cluster.up()
        stage.client.door.find()


NOBODY_NOTICES = Expect(healthy=60, unaffected=KINDS)

FAULTS = (
    Fault(
        "server-killed",
        "SIGKILL to the first process of one of the servers, during streams",
        killed(SERVER),
        seconds=LONG_ENOUGH,
        expect=Expect(healthy=120, unaffected=(READ,), at_most=0.3),
    ),
    Fault(
        "server-pod-deleted",
        "one server's pod is deleted, as when its node is drained",
        deleted(SERVER),
        seconds=LONG_ENOUGH,
        expect=Expect(healthy=180, unaffected=KINDS),
    ),
    Fault(
        "server-pod-lost",
        "one server's pod is deleted without time to end",
        deleted(SERVER, "--force", "--grace-period=0"),
        seconds=LONG_ENOUGH,
        expect=Expect(healthy=120, unaffected=(READ,), at_most=0.3),
    ),
    Fault(
        "gateway-killed",
        "SIGKILL to the first process of one of the gateways, during streams",
        killed(GATEWAY.name),
        seconds=LONG_ENOUGH,
        expect=Expect(healthy=60, at_most=0.4),
    ),
    Fault(
        "gateway-pod-deleted",
        "one gateway's pod is deleted, as when its node is drained",
        deleted(GATEWAY.name),
        seconds=LONG_ENOUGH,
        expect=Expect(healthy=120, unaffected=KINDS),
    ),
    Fault(
        "database-killed",
        "SIGKILL to the first process of PostgreSQL",
        killed(DATABASE.name),
        seconds=LONG_ENOUGH,
        expect=Expect(healthy=60),
    ),
    Fault(
        "kubelet-restarted",
        "SIGKILL to the kubelet, which is started again",
        restarted("kubelet"),
        seconds=LONG_ENOUGH,
        expect=NOBODY_NOTICES,
    ),
    Fault(
        "api-server-gone",
        f"the API server is gone for {GONE_SECONDS:g} s",
        gone("kube-apiserver"),
        undo="it is started again",
        seconds=GONE_SECONDS,
        expect=NOBODY_NOTICES,
    ),
    Fault(
        "etcd-restarted",
        "SIGKILL to etcd, which is started again",
        restarted("etcd"),
        seconds=LONG_ENOUGH,
        expect=NOBODY_NOTICES,
    ),
    Fault(
        "runtime-restarted",
        "SIGKILL to containerd, which is started again",
        restarted("containerd"),
        seconds=LONG_ENOUGH,
        expect=NOBODY_NOTICES,
    ),
    Fault(
        "controllers-restarted",
        "SIGKILL to the controller manager, which is started again",
        restarted("kube-controller-manager"),
        seconds=LONG_ENOUGH,
        expect=NOBODY_NOTICES,
    ),
    Fault(
        "name-server-restarted",
        "SIGKILL to CoreDNS, which is started again",
        restarted("coredns"),
        seconds=LONG_ENOUGH,
        expect=Expect(healthy=60, unaffected=(READ,)),
    ),
    Fault(
        "node-restarted",
        "everything on the node is killed at once, and the node starts again",
        node,
        undo="inv cluster.up",
        seconds=5,
        expect=Expect(healthy=300),
    ),
)
