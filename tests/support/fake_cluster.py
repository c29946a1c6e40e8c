"""Answers for kubectl: a cluster that has what a test gives it, and applies what it is told to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import CommandFailed
from letta_stack.operate import cluster_plan
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.runners import kubernetes
from letta_stack.topology.runners.kubernetes import REVISION

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

Object = dict[str, Any]
GROUPS = "v1 apps/v1 autoscaling/v2 batch/v1 networking.k8s.io/v1 policy/v1"
RUNNING = {"state": {"running": {}}, "ready": True, "restartCount": 0, "image": "x"}


@dataclass
class Cluster:
    """A cluster in the place of kubectl."""

    contexts: Sequence[str] = ("mine",)
    version: tuple[str, str] = ("1", "34")
    groups: str = GROUPS
    classes: dict[str, bool] = field(default_factory=lambda: {"fast": True})
    secret_keys: Sequence[str] = ("database-uri", "redis-users")
    forbidden: Sequence[str] = ()
    limits: Sequence[Object] = ()  # ResourceQuotas and LimitRanges of the namespace
    prepared: bool = False  # whether the namespace is there
    silent: bool = False
    refuses: str = ""  # what the API server says to a dry run
    pod: Object = field(default_factory=lambda: dict(RUNNING))
    broken: dict[int, Object] = field(default_factory=dict)  # pods in its place, by revision
    conditions: Sequence[Object] = ()
    job: Object = field(default_factory=lambda: {"succeeded": 1})
    pull: Object = field(default_factory=lambda: {"terminated": {"exitCode": 0}})
    trying: list[Object] = field(default_factory=list)  # pods that only try images
    revision: int = 1  # of every Deployment; one more with each other template of the servers
    images: dict[int, str] = field(default_factory=dict)  # of the servers, by revision
    schema: str = "b"  # the revision of the database
    migrations: str = '[["a", "", ""], ["b", "a", ""]]'  # of every image
    undone: list[str] = field(default_factory=list)
    applied: list[Object] = field(default_factory=list)
    scaled: dict[str, int] = field(default_factory=dict)  # how many pods, by Deployment
    tools: list[Object] = field(default_factory=list)  # pods for one piece of work
    tried: list[Object] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)

    def capture(self, argv: Sequence[str], *, stdin: str = "", **_: Any) -> str:
        """Answer, or fail as the command would."""
        ended = self.probe(argv, stdin=stdin)
        if not ended.ok:
            raise CommandFailed(argv, ended.exit_code, ended.stderr)
        return ended.stdout

    def run(self, argv: Sequence[str], **_: Any) -> None:
        """Note a command."""
        self.capture(argv)

    def call(self, argv: Sequence[str], **_: Any) -> int:
        """Note a command."""
        return self.probe(argv).exit_code

    def probe(self, argv: Sequence[str], *, stdin: str = "", **_: Any) -> Completed:  # noqa: PLR0911, PLR0912 - one for each question
        """Answer a command."""
        words = list(argv[argv.index("--namespace") + 2 :])
        self.commands.append(words)
        match words:
            case ["config", "get-contexts", *_]:
                return said("\n".join(self.contexts))
            case ["config", "current-context"]:
                return said(self.contexts[0] if self.contexts else "")
            case ["version", *_]:
                if self.silent:
                    return Completed(1, "{}", "dial tcp: connection refused\n")
                major, minor = self.version
                git = f"v{major}.{minor}"
                return said(
                    json.dumps(
                        {"serverVersion": {"major": major, "minor": minor, "gitVersion": git}}
                    )
                )
            case ["api-versions"]:
                return said(self.groups)
            case ["create", "--filename", "-"]:
                self.trying.append(yaml.safe_load(stdin))
            case ["get", "pod", _, *_]:
                return said(json.dumps(self._tried()))
            case ["create", *_]:
                return said("\n".join(map(self._reviewed, yaml.safe_load_all(stdin))))
            case ["get", "namespace", _]:
                return Completed(0 if self.prepared else 1, "", "")
            case ["get", "secret", *_]:
                return said(" ".join(self.secret_keys))
            case ["get", "--raw", *_]:
                return said("ok")
            case ["apply", *options]:
                return self._apply(stdin, dry_run="--dry-run=server" in options)
            case ["exec", *command]:
                return said(self.schema if cluster_plan.REVISION in command else self.migrations)
            case ["get", one, *_] if one.startswith("pod/"):
                return said(json.dumps(self._pod({}, one.partition("/")[2])))
            case ["get", one, "--ignore-not-found", *_]:
                return said("")
            case ["get", one, *_] if "/" in one:
                return said(json.dumps(self._deployment(one.partition("/")[2])))
            case ["scale", name, count]:
                self.scaled[name.partition("/")[2]] = int(count.partition("=")[2])
            case ["rollout", "undo", name, revision]:
                self.revision = int(revision.partition("=")[2])
                self.undone.append(name)
            case ["get", "resourcequotas,limitranges", *_]:
                return self._limits()
            case ["get", "storageclasses", *_] if "list storageclasses" in self.forbidden:
                return Completed(1, "", "Forbidden\n")
            case ["get", kinds, *_]:
                return said(json.dumps({"items": self._get(kinds)}))
            case _:
                pass
        return said("")

    def _apply(self, text: str, *, dry_run: bool) -> Completed:
        objects = list(yaml.safe_load_all(text))
        if dry_run and self.refuses:
            return Completed(1, "", f"{self.refuses}\n")
        if dry_run:
            self.tried.extend(objects)
            return said("")
        for one in objects:
            if one["kind"] == "Pod":  # for a moment only
                self.tools.append(one)
                continue
            self.applied.append(one)
            self._note(one)
        return said("")

    def _tried(self) -> Object:
        """Return the pod that tries images, each of them as far as ``pull`` says."""
        containers = self.trying[-1]["spec"]["containers"]
        statuses = [{"image": one["image"], "state": self.pull} for one in containers]
        return {"kind": "Pod", "status": {"containerStatuses": statuses}}

    def _limits(self) -> Completed:
        if "list resourcequotas" in self.forbidden:
            return Completed(1, "", "Forbidden\n")
        return said(json.dumps({"items": list(self.limits)}))

    def _reviewed(self, review: Object) -> str:
        asked = review["spec"]["resourceAttributes"]
        name, group, verb = asked["resource"], asked["group"], asked["verb"]
        forbidden = f"{verb} {name}.{group}".rstrip(".") in self.forbidden
        return f"{name},{group},{verb},{'' if forbidden else 'true'}"

    def _note(self, one: Object) -> None:
        if one["kind"] != "Deployment" or one["metadata"]["name"] != SERVER:
            return
        image = one["spec"]["template"]["spec"]["containers"][0]["image"]
        if self.images and self.images[self.revision] != image:
            self.revision += 1
        self.images[self.revision] = image

    def _deployment(self, name: str) -> Object:
        found = [one for one in self.applied if one["kind"] == "Deployment"]
        return next(self._status(one) for one in reversed(found) if one["metadata"]["name"] == name)

    def _replica_sets(self) -> list[Object]:
        server = self._deployment(SERVER)
        return [
            {
                "kind": "ReplicaSet",
                "metadata": {**server["metadata"], "annotations": {REVISION: str(number)}},
                "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
            }
            for number, image in self.images.items()
        ]

    def _get(self, kinds: str) -> list[Object]:
        if kinds == "storageclasses":
            note = "storageclass.kubernetes.io/is-default-class"
            return [
                {"metadata": {"name": name, "annotations": {note: str(usual).lower()}}}
                for name, usual in self.classes.items()
            ]
        words = [word.partition(".")[0] for word in kinds.split(",")]
        wanted = {word.removesuffix("s") for word in words}
        found = [self._status(one) for one in self.applied if one["kind"].lower() in wanted]
        if "replicaset" in wanted and self.images:
            found += self._replica_sets()
        return [*found, *self._pods()] if "pod" in wanted else found

    def _pods(self) -> list[Object]:
        return [
            self._pod(one["spec"]["template"], f"{one['metadata']['name']}-0")
            for one in self.applied
            if "template" in one.get("spec", {}) and self.scaled.get(one["metadata"]["name"], 1)
        ]

    def _pod(self, template: Object, name: str) -> Object:
        return {
            "kind": "Pod",
            "spec": template.get("spec", {}),
            "metadata": {"labels": {}, **template.get("metadata", {}), "name": name},
            "status": {"containerStatuses": [self.broken.get(self.revision, self.pod)]},
        }

    def _status(self, one: Object) -> Object:
        if one["kind"] == "Job":
            return {**one, "status": self.job}
        count = one.get("spec", {}).get("replicas", 1)
        same = dict.fromkeys(("updatedReplicas", "readyReplicas", "replicas"), count)
        status = {"observedGeneration": 1, **same, "conditions": list(self.conditions)}
        notes = {**(one["metadata"].get("annotations") or {}), REVISION: str(self.revision)}
        return {
            **one,
            "metadata": {**one["metadata"], "generation": 1, "annotations": notes},
            "status": status,
        }


def said(text: str) -> Completed:
    """Return a command's success."""
    return Completed(0, text, "")


def replaced(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> Cluster:
    """Put a cluster in the place of kubectl."""
    for name in ("capture", "run", "call", "probe"):
        monkeypatch.setattr(process, name, getattr(cluster, name))
    monkeypatch.setattr(kubernetes, "program", lambda **_: "kubectl")
    return cluster
