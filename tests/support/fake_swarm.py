"""A manager of a swarm that answers as a test says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.engine import inspect
from letta_stack.errors import CommandFailed
from letta_stack.image.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

STACK = "letta-stack-swarm"
SERVER = f"{STACK}_letta-server"


@dataclass
class Engine:
    """An engine in the place of docker."""

    manager: bool = True
    labels: Sequence[dict[str, str]] = ({},)
    task: str = "Running 3 seconds ago"
    migration: str = "Complete 1 second ago"
    attempts: int = 1
    update: str = "completed"  # how an update of the servers ends
    volumes: str = ""
    error: str = ""
    here: str = "abc"
    contexts: Sequence[str] = ()
    answers: bool = True
    job: tuple[str, str] = ("Complete 1 second ago", "")  # how what looks for an image ends
    stack: dict[str, Any] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)  # image, by name

    def capture(self, argv: Sequence[str], *, env: dict[str, str] | None = None, **_: Any) -> str:
        ended = self.probe(argv, env=env)
        if not ended.ok:
            raise CommandFailed(argv, ended.exit_code, ended.stderr)
        return ended.stdout

    def run(self, argv: Sequence[str], **_: Any) -> None:
        self.capture(argv)

    def call(self, argv: Sequence[str], **_: Any) -> int:
        return self.probe(argv).exit_code

    def probe(  # noqa: PLR0911, PLR0912 - one for each question
        self, argv: Sequence[str], *, env: dict[str, str] | None = None, **_: Any
    ) -> Completed:
        self.commands.append(" ".join(argv))
        match list(argv[1:]):
            case ["info", _]:
                return said({"LocalNodeState": "pending", "ControlAvailable": self.manager})
            case ["node", "ls", *_]:
                return lines(range(len(self.labels)))
            case ["node", "inspect", *_]:
                return said([host(*one) for one in enumerate(self.labels)])
            case ["stack", "deploy", *_, option, _]:
                if self.error:
                    return Completed(1, "", f"{self.error}\n")
                self._deploy(yaml.safe_load(Path(option.partition("=")[2]).read_text()))
                self.environment = env or {}
            case ["stack", "ps", *_]:
                return lines(json.dumps(row) for row in self._tasks())
            case ["stack", "services", *_]:
                return lines(f"{STACK}_{name}" for name in self.services)
            case ["service", "inspect", *names]:
                return said([self.services[one.removeprefix(f"{STACK}_")] for one in names])
            case ["service", "create", name, *rest]:
                self.jobs[name.partition("=")[2]] = next(
                    one for one in rest if not one.startswith("-")
                )
            case ["service", "ps", *_]:
                return lines(json.dumps(row) for row in self._looks())
            case ["service", "update", *options, name]:
                self._change(name.removeprefix(f"{STACK}_"), options)
            case ["service", "rollback", _, name]:
                self._undo(name.removeprefix(f"{STACK}_"), "rollback_completed")
            case ["volume", "ls", *_]:
                return Completed(0, self.volumes, "")
            case ["ps", *_]:
                return Completed(0, self.here, "")
            case ["context", "inspect", name]:
                return Completed(0 if name in self.contexts else 1, "", "")
            case ["exec", _, "curl", *_]:
                return Completed(0 if self.answers else 22, "", "")
            case _:
                pass
        return Completed(0, "", "")

    def _deploy(self, stack: dict[str, Any]) -> None:
        self.stack = stack
        for name, body in stack["services"].items():
            deploy = body["deploy"]
            many = {"Replicated": {"Replicas": deploy.get("replicas", 1)}}
            kinds: dict[str, Any] = {
                "global": {"Global": {}},
                "replicated-job": {"ReplicatedJob": {}},
            }
            spec = {
                "Name": f"{STACK}_{name}",
                "Labels": {key: str(value) for key, value in deploy.get("labels", {}).items()},
                "TaskTemplate": {"ContainerSpec": {"Image": body["image"]}},
                "Mode": kinds.get(deploy.get("mode", ""), many),
            }
            self._set(name, spec)

    def _set(self, name: str, spec: dict[str, Any]) -> None:
        before = self.services.get(name, {}).get("Spec")
        self.services[name] = {"Spec": spec, "PreviousSpec": before}
        replaced = before and before["TaskTemplate"] != spec["TaskTemplate"]
        if name == "letta-server" and self.update == "updating":
            self.services[name]["UpdateStatus"] = {"State": "updating"}
        if not replaced or "ReplicatedJob" in spec["Mode"]:
            return
        if name != "letta-server" or self.update == "completed":
            self.services[name]["UpdateStatus"] = {"State": "completed"}
        elif self.update.startswith("rollback"):
            self._undo(name, self.update)
        else:
            self.services[name]["UpdateStatus"] = {"State": self.update}

    def _undo(self, name: str, state: str) -> None:
        one = self.services[name]
        self.services[name] = {
            "Spec": one["PreviousSpec"],
            "PreviousSpec": one["Spec"],
            "UpdateStatus": {"State": state},
        }

    def _change(self, name: str, options: Sequence[str]) -> None:
        spec = json.loads(json.dumps(self.services[name]["Spec"]))
        for option in options:
            key, _, value = option.partition("=")
            if key == "--image":
                spec["TaskTemplate"]["ContainerSpec"]["Image"] = value
            elif key == "--label-add":
                spec["Labels"] |= dict([value.split("=", 1)])
        self._set(name, spec)

    def image(self) -> str:
        return str(self.services["letta-server"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])

    def _tasks(self) -> list[dict[str, str]]:
        return [
            {
                "ID": f"{name}.{slot}.{attempt}",
                "Name": f"{STACK}_{name}.{slot}",
                "Node": "host0",
                "Image": one["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"],
                "DesiredState": "Running",
                "CurrentState": self.migration if name == "letta-migrate" else self.task,
                "Error": "",
            }
            for name, one in self.services.items()
            for slot in range(1, self._count(one["Spec"]["Mode"]) + 1)
            for attempt in range(self.attempts if name == "letta-migrate" else 1)
        ]

    def _count(self, mode: dict[str, Any]) -> int:
        return (
            len(self.labels)
            if "Global" in mode
            else int(mode.get("Replicated", {}).get("Replicas", 1))
        )

    def _looks(self) -> list[dict[str, str]]:
        state, error = self.job
        return [
            {
                "Name": f"{name}.{number}",
                "Node": f"host{number}",
                "Image": image,
                "CurrentState": state,
                "Error": error,
            }
            for name, image in self.jobs.items()
            for number, labels in enumerate(self.labels)
            if labels or image in self._anywhere()
        ]

    def _anywhere(self) -> set[str]:
        created = [one for one in self.commands if one.startswith("docker service create")]
        return {
            image
            for image in self.jobs.values()
            if any(image in one and "--constraint" not in one for one in created)
        }


def host(number: int, labels: dict[str, str]) -> dict[str, Any]:
    """What the swarm knows of a host."""
    return {
        "ID": str(number),
        "Description": {"Hostname": f"host{number}"},
        "Spec": {"Labels": labels, "Availability": "active"},
        "Status": {"State": "ready"},
    }


def said(answer: object) -> Completed:
    """Answer in JSON."""
    return Completed(0, json.dumps(answer), "")


def lines(answer: Any) -> Completed:
    """Answer in lines."""
    return Completed(0, "\n".join(map(str, answer)), "")


def replaced(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Engine:
    """Put an engine in the place of docker."""
    for name in ("capture", "run", "call", "probe"):
        monkeypatch.setattr(process, name, getattr(engine, name))
    monkeypatch.setattr(inspect, "require", lambda: None)
    monkeypatch.setattr(Sources, "prepare", lambda *_, **__: {})
    return engine
