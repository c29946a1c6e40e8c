"""The one place that knows how this project calls kubectl, and how to read its answers; see ``Runner``."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.base.paths import STATE
from letta_stack.errors import ClusterUnreachable
from letta_stack.topology.render import text
from letta_stack.topology.render.kubernetes.objects import MANAGED, NAME, PART_OF
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

CLUSTER = STATE / "cluster"
"""What `inv cluster.up` leaves for others: kubectl and its configuration."""
WORK = "deployments,statefulsets,jobs"
KINDS = f"{WORK},services,configmaps,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,serviceaccounts"
REVISION = "deployment.kubernetes.io/revision"
STOP_SECONDS = 900  # longer than any pod may take to stop
MOST_LOGS = 50  # pods that are followed at once


@dataclass(frozen=True)
class Kubernetes:
    """Handles the objects of one namespace."""

    namespace: str
    context: str  # "" is kubectl's current one
    trial: bool = False  # whether the cluster is the one of `inv cluster.up`

    def argv(self, *arguments: str) -> list[str]:
        """Write a kubectl command."""
        where = ["--kubeconfig", str(CLUSTER / "config")] if self.trial else []
        context = ["--context", self.context] if self.context else []
        kubectl = program(trial=self.trial)
        return [kubectl, *where, *context, "--namespace", self.namespace, *arguments]

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects that kubectl finds."""
        answer = process.capture(self.argv("get", *arguments, "--output", "json"))
        found: dict[str, Any] = json.loads(answer or '{"items": []}')
        return list(found["items"]) if "items" in found else [found]

    def mine(self, kinds: str) -> list[dict[str, Any]]:
        """Return the project's objects of some kinds."""
        return self.get(kinds, "--selector", f"{PART_OF}={self.namespace}")

    def apply(self, objects: Iterable[Mapping[str, Any]], *, dry_run: bool = False) -> None:
        """Create or change objects as they are written; fields that others own stay; raise ``CommandFailed``."""
        options = ["--server-side", "--force-conflicts", "--field-manager", "letta-stack"]
        if dry_run:
            options.append("--dry-run=server")
        if given := list(objects):
            process.capture(self.argv("apply", *options, "--filename", "-"), stdin=text.dump(given))

    def states(self) -> list[State]:
        """Return the state of every pod of the project."""
        return [parse_pod(one) for one in self.mine("pods")]

    def volumes(self) -> list[str]:
        """Return the names of the project's claims."""
        return [one["metadata"]["name"] for one in self.get("persistentvolumeclaims")]

    def scale(self, service: str, count: int) -> None:
        """Bring a service to ``count`` pods; raise ``CommandFailed``."""
        process.run(self.argv("scale", f"deployment/{service}", f"--replicas={count}"))

    def down(self, *, volumes: bool) -> None:
        """Remove the objects, with ``volumes`` the whole namespace: data, and Secrets that others made."""
        mine = f"{PART_OF}={self.namespace},{MANAGED}=letta-stack"
        process.run(self.argv("delete", KINDS, "--selector", mine, "--ignore-not-found"))
        # A namespace that still has pods looks again only after half of their time to stop: minutes for a turn's.
        pods = ["--selector", f"{PART_OF}={self.namespace}", f"--timeout={STOP_SECONDS}s"]
        process.run(self.argv("wait", "--for=delete", "pods", *pods))
        if volumes:
            process.run(self.argv("delete", "namespace", self.namespace, "--ignore-not-found"))

    def delete_jobs(self, *, but: Sequence[str]) -> None:
        """Remove the Jobs with other names, and their pods."""
        old = [one["metadata"]["name"] for one in self.mine("jobs")]
        if names := [name for name in old if name not in but]:
            process.capture(self.argv("delete", "jobs", "--cascade=foreground", *names))

    def restart(self, service: str = "") -> None:
        """Replace the pods of one service, or of all, one after another."""
        kinds = "deployments,statefulsets"
        chosen = [one for one in self.mine(kinds) if service in {"", one["metadata"]["name"]}]
        for one in chosen:
            name = f"{one['kind'].lower()}/{one['metadata']['name']}"
            process.run(self.argv("rollout", "restart", name))

    def revisions(self) -> dict[str, str]:
        """Return the number of the present revision of each Deployment."""
        return {
            one["metadata"]["name"]: one["metadata"]["annotations"][REVISION]
            for one in self.mine("deployments")
        }

    def undo(self, service: str, revision: str) -> None:
        """Give a Deployment the pods of an earlier revision; raise ``CommandFailed``."""
        process.run(
            self.argv("rollout", "undo", f"deployment/{service}", f"--to-revision={revision}")
        )

    def ps(self) -> int:
        """Show the pods."""
        mine = f"{PART_OF}={self.namespace}"
        return process.call(self.argv("get", "pods", "--selector", mine, "--output", "wide"))

    def logs(self, *, service: str, tail: int, follow: bool) -> int:
        """Show logs."""
        selector = f"{PART_OF}={self.namespace}" + (f",{NAME}={service}" if service else "")
        options = ["--follow"] if follow else []
        many = ["--prefix", "--max-log-requests", str(MOST_LOGS), "--tail", str(tail)]
        return process.call(self.argv("logs", "--selector", selector, *many, *options))

    def execute(self, service: str, command: Sequence[str]) -> int:
        """Run a command in a pod of a service."""
        terminal = ["--stdin", "--tty"] if sys.stdin.isatty() else ["--stdin"]
        pods = self.get("pods", "--selector", f"{PART_OF}={self.namespace},{NAME}={service}")
        running = [one["metadata"]["name"] for one in pods if parse_pod(one).ready]
        name = running[0] if running else f"deployment/{service}"
        return process.call(self.argv("exec", *terminal, name, "--", *command))


def program(*, trial: bool) -> str:
    """Find kubectl, for the cluster for trials the one of its own version; raise ``ClusterUnreachable``."""
    own = str(CLUSTER / "kubectl") if (CLUSTER / "kubectl").is_file() else ""
    installed = shutil.which("kubectl") or ""
    found = own or installed if trial else installed or own
    if not found:
        raise ClusterUnreachable(
            "kubectl is not installed; install it (https://kubernetes.io/docs/tasks/tools/), or let `inv cluster.up` make "
            "a cluster for trials, which brings one"
        )
    return found


def kubeconfig() -> Path:
    """Return where the cluster for trials is described."""
    return CLUSTER / "config"


def parse_pod(pod: Mapping[str, Any]) -> State:
    """Read one pod."""
    (status,) = pod["status"].get("containerStatuses") or [{}]
    how = status.get("state") or {}
    ended = how.get("terminated") or {}
    waiting = (how.get("waiting") or {}).get("reason", "")
    if pod["metadata"].get("deletionTimestamp"):
        state = "stopping"
    elif waiting in {"CrashLoopBackOff", "RunContainerError"}:
        state = "restarting"
    elif ended:
        state = "exited"
    else:
        state = "running" if "running" in how else "created"
    last = (status.get("lastState") or {}).get("terminated") or {}
    health = "" if state != "running" else "healthy" if status.get("ready") else "starting"
    return State(
        service=pod["metadata"]["labels"][NAME],
        container=pod["metadata"]["name"],
        state=state,
        health=health,
        exit_code=int((ended or last).get("exitCode", 0)),
    )
