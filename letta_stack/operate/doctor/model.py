"""What a check finds, and what every check may ask."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.runners.kubernetes import WORK, parse_pod

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.kubernetes import Kubernetes
    from letta_stack.topology.runners.protocol import State

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"
ORDER = (FAIL, WARN, OK, SKIP)


@dataclass(frozen=True)
class Finding:
    """The answer of one check: ``state`` is ok, warn, fail or skip (nothing to check here)."""

    name: str
    state: str
    seen: str
    fix: str = ""  # what to do next, "" if nothing is wrong
    repair: Callable[[], str] | None = field(default=None, compare=False)  # safe; says what it did


@dataclass
class Subject:
    """A project with what several checks want to know, asked once."""

    project: Project
    backups: Path
    states: list[State]

    def running(self, service: str) -> str:
        """Return the first running container of a service, "" if there is none."""
        return next(
            (
                one.container
                for one in self.states
                if one.service == service and one.state == "running"
            ),
            "",
        )

    @cached_property
    def server(self) -> str:
        """The first running server."""
        return self.running(SERVER)


@dataclass
class ClusterSubject:
    """A namespace with what several checks want to know, asked once."""

    project: Clustered
    backups: Path
    mine: Kubernetes
    objects: list[dict[str, Any]] = field(default_factory=list)
    pods: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)

    def look(self) -> None:
        """Ask the API server. Raises ``CommandFailed``."""
        found = self.mine.mine(f"{WORK},horizontalpodautoscalers,ingresses,pods")
        self.pods = [one for one in found if one["kind"] == "Pod"]
        self.objects = [one for one in found if one["kind"] != "Pod"]
        self.claims = self.mine.get("persistentvolumeclaims")

    @property
    def states(self) -> list[State]:
        """The state of every pod."""
        return [parse_pod(one) for one in self.pods]

    def running(self, service: str) -> str:
        """Return the first running pod of a service, "" if there is none."""
        states = (one for one in self.states if one.service == service)
        return next((one.container for one in states if one.state == "running"), "")

    def secret(self, name: str) -> dict[str, str]:
        """Return the values of a Secret in Base64, none if it is not there."""
        found = self.mine.get(f"secret/{name}", "--ignore-not-found")
        return dict(found[0].get("data") or {}) if found else {}

    def nodes(self) -> list[dict[str, Any]] | None:
        """Return the nodes; None if the user may not see them."""
        found = process.probe(self.mine.argv("get", "nodes", "--output", "json"))
        return list(json.loads(found.stdout)["items"]) if found.ok else None

    def fills(self) -> dict[str, tuple[int, int]] | None:
        """Return bytes in use and in all of each claim's volume; None if the user may not ask the nodes."""
        names = {pod["spec"]["nodeName"] for pod in self.pods if pod["spec"].get("nodeName")}
        found: dict[str, tuple[int, int]] = {}
        for name in sorted(names):
            path = f"/api/v1/nodes/{name}/proxy/stats/summary"
            asked = process.probe(self.mine.argv("get", "--raw", path))
            if not asked.ok:
                return None
            for pod in json.loads(asked.stdout)["pods"]:
                for one in pod.get("volume") or []:
                    claim = one.get("pvcRef") or {}
                    if claim.get("namespace") == self.mine.namespace and "usedBytes" in one:
                        used = one["capacityBytes"] - one["availableBytes"]
                        found[claim["name"]] = (used, one["capacityBytes"])
        return found


def ok(name: str, seen: str) -> Finding:
    """Say that there is nothing to do."""
    return Finding(name, OK, seen)


def warn(name: str, seen: str, fix: str) -> Finding:
    """Say that it works now, and should be looked at."""
    return Finding(name, WARN, seen, fix)


def fail(name: str, seen: str, fix: str) -> Finding:
    """Say that it does not work."""
    return Finding(name, FAIL, seen, fix)


def skip(name: str, seen: str) -> Finding:
    """Say that there is nothing to check."""
    return Finding(name, SKIP, seen)
