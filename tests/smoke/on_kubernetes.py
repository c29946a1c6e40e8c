"""The stack on the cluster of `inv cluster.up`, in a namespace of its own."""

from __future__ import annotations

import contextlib
import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from python_on_whales import docker

from letta_stack.base import process
from letta_stack.base.paths import ROOT, SECRETS
from letta_stack.operate.faults.cluster_stage import ClusterStage, Door, NodeClient
from letta_stack.secrets import kinds
from letta_stack.secrets.store import Store
from letta_stack.topology import trial_cluster
from letta_stack.topology.catalogue import GATEWAY, SERVER
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.render.kubernetes.network import HTTP
from letta_stack.topology.runners.kubernetes import Kubernetes
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from letta_stack.topology.runners.protocol import State

NAMESPACE = harness.RUN.removeprefix("letta-")
FLAGS = ("--env", "kubernetes", "--context", trial_cluster.CONTEXT, "--project", NAMESPACE)
UP = ("up", *FLAGS, "--database", "trial")


@dataclass(frozen=True)
class OnKubernetes(harness.Served):
    """A namespace with the stack; ``container`` is what kubectl calls the server."""

    cluster: Kubernetes
    settings: Mapping[str, str]  # the environment of `inv up`

    @cached_property
    def password(self) -> str:
        """Read the password that `inv up` made."""
        return Store.of(NAMESPACE).read(kinds.SERVER)

    def execute(self, *command: str) -> str:
        """Run a command in a server's container, as its only user."""
        return process.capture(self.cluster.argv("exec", self.container, "--", *command))

    def pods(self, service: str = "") -> list[State]:
        """Return the pods that are not on their way out, of one service or of all."""
        return [
            one
            for one in self.cluster.states()
            if service in {"", one.service} and one.state != "stopping"
        ]

    def up(self, *flags: str) -> None:
        """Start it again with the same settings and further flags."""
        inv(*UP, *flags, environment=self.settings)


def inv(*arguments: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a task as an operator does."""
    process.run([sys.executable, "-m", "invoke", *arguments], env=environment, cwd=ROOT)


def outside() -> str:
    """Return where the node hands on what comes from this machine; the port is another after each of its starts."""
    return f"http://{trial_cluster.published(trial_cluster.NODE_PORT)}"


def stage(deployment: OnKubernetes) -> ClusterStage:
    """Return the namespace as faults and load see it."""
    door = Door()
    door.find()
    cluster = Clustered.of("kubernetes", project=NAMESPACE, context=trial_cluster.CONTEXT)
    return ClusterStage(cluster, NodeClient("", deployment.password, door=door), harness.IMAGE)


@contextlib.contextmanager
def deployed(*flags: str, **settings: str) -> Iterator[OnKubernetes]:
    """Start a cluster if none runs, and the stack in it, with ``flags`` of `inv up`; leave nothing behind that was not there."""
    theirs = bool(trial_cluster.running())
    try:
        inv("cluster.up")
        with (
            harness.script(
                "kubernetes-stub", "llm_stub.py", publish=[("127.0.0.1:", harness.STUB_PORT)]
            ) as stub,
            _stack(stub, flags, settings) as stack,
        ):
            yield stack
    finally:
        if not theirs:
            inv("cluster.down", "--volumes")


@contextlib.contextmanager
def _stack(stub: str, flags: Sequence[str], given: Mapping[str, str]) -> Iterator[OnKubernetes]:
    # Containers of the engine's usual network are the pods' neighbours, without names.
    address = docker.container.inspect(stub).network_settings.ip_address
    provider = {"OPENAI_BASE_URL": f"http://{address}:{harness.STUB_PORT}/v1"}
    settings = {**harness.blank_environment(), **harness.PROVIDER, **provider, **given}
    cluster = Kubernetes(NAMESPACE, trial_cluster.CONTEXT, trial=True)
    try:
        inv(*UP, *flags, environment=settings)
        ports = f"--tcp={HTTP}:8080"
        node_port = f"--node-port={trial_cluster.NODE_PORT}"
        process.run(cluster.argv("create", "service", "nodeport", "outside", ports, node_port))
        selector = f"app.kubernetes.io/part-of={NAMESPACE},app.kubernetes.io/name={GATEWAY.name}"
        process.run(cluster.argv("set", "selector", "service/outside", selector))
        url = outside()
        health = harness.health_url(url)
        harness.expect(
            lambda: process.probe(["curl", "-fsS", health]).ok,
            timeout=harness.START_SECONDS,
            what=lambda: (
                f"{health} does not answer: {process.probe(['curl', '-fsS', health]).stderr}"
            ),
        )
        yield OnKubernetes(f"deployment/{SERVER}", url, stub, cluster, settings)
    finally:
        inv("down", *FLAGS, "--volumes", "--yes")
        shutil.rmtree(SECRETS / NAMESPACE, ignore_errors=True)
