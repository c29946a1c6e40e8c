"""A namespace of the cluster for trials as the faults see it: its pods, and the parts of the node under them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import CommandFailed, NotRunning
from letta_stack.operate.faults.client import Client
from letta_stack.operate.holders.namespaced import Namespaced
from letta_stack.topology import cluster_lifecycle, trial_cluster

if TYPE_CHECKING:
    from letta_stack.operate.postgres import Postgres
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.runners.kubernetes import Kubernetes
    from letta_stack.topology.runners.protocol import State

QUICKLY = "--request-timeout=5s"  # an API server that is gone must not hold a look up
WORKLOADS = "deployments,statefulsets"


@dataclass
class Door:
    """Where the node takes requests from this machine; another port after each of its starts."""

    url: str = ""

    def find(self) -> None:
        """Look for it."""
        self.url = f"http://{trial_cluster.published(trial_cluster.NODE_PORT)}"


@dataclass(frozen=True)
class NodeClient(Client):
    """A client that comes through the node's port."""

    door: Door = field(default_factory=Door)

    def base(self) -> str:
        """Return where the node is now."""
        return self.door.url


@dataclass(frozen=True)
class ClusterStage:
    """A namespace that was healthy when the faults began; ``image`` is the server's on this engine."""

    cluster: Clustered
    client: NodeClient
    image: str

    @property
    def name(self) -> str:
        """Return the namespace."""
        return self.cluster.name

    @property
    def mine(self) -> Kubernetes:
        """What handles the objects."""
        return cluster_lifecycle.runner(self.cluster)

    def states(self) -> list[State]:
        """Return the states of the pods; none while nobody can be asked."""
        try:
            return [one for one in self.mine.states() if not one.ended_well]
        except CommandFailed:
            return []

    def ready(self) -> bool:
        """Say whether every workload has its pods ready and the API answers from the database."""
        try:
            workloads = self.mine.get(WORKLOADS, QUICKLY)
        except CommandFailed:
            return False
        for one in workloads:
            wanted, status = one["spec"].get("replicas", 1), one["status"]
            counts = {
                status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas")
            }
            if counts != {wanted}:
                return False
        return self.client.answers()

    def pods(self, service: str) -> list[str]:
        """Return the pods of a service that are ready, in the order of their names. Raises ``NotRunning``."""
        found = sorted(
            one.container for one in self.states() if one.service == service and one.ready
        )
        if not found:
            raise NotRunning(f"{service} of {self.name} has no pod that is ready")
        return found

    def identity(self, pod: str) -> str:
        """Return what the container runtime calls the container of a pod."""
        (found,) = self.mine.get(f"pod/{pod}")
        return str(found["status"]["containerStatuses"][0]["containerID"])

    def database(self) -> Postgres:
        """Return the database of the namespace."""
        return Namespaced(self.cluster).postgres()

    def inside(self, service: str, *command: str) -> list[str]:
        """Write the command that runs something in the first pod of a service."""
        return self.mine.argv("exec", self.pods(service)[0], "--", *command)

    def beside(self) -> list[str]:
        """Return nothing: containers of the engine's usual network are the pods' neighbours."""
        return []

    def address(self, container: str) -> str:
        """Return the address of a container of that network."""
        form = "--format={{.NetworkSettings.IPAddress}}"
        return process.capture(["docker", "container", "inspect", form, container]).strip()
