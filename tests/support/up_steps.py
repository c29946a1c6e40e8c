"""Stands for everything that `inv up` calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from letta_stack.base import http_wait
from letta_stack.certs import store
from letta_stack.engine import disk, inspect
from letta_stack.engine.inspect import Engine
from letta_stack.image.sources import Sources
from letta_stack.topology import (
    deployed,
    dotenv,
    exports,
    free_space,
    inputs,
    lifecycle,
    preflight,
    secret_files,
)
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

ENGINE = Engine(
    version="26.1.5",
    containerd_store=True,
    architecture="amd64",
    root_dir="/",
    buildx="0.13.1",
    compose="2.26.1",
    processors=1,
    memory=2**33,
)
SOURCES = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)
PROD = Project.of("prod", project="mine")
SERVICES = Project.of("services", project="mine")


def running(service: str, number: int = 1, health: str = "healthy") -> State:
    return State(service, f"mine-{service}-{number}", "running", health, 0)


MODEL: dict[str, Any] = {
    "services": {
        "letta-server": {"image": "mine/letta:1", "environment": {}, "deploy": {"replicas": 2}},
        "letta-nginx": {
            "ports": [
                {"target": 8443, "published": "8283", "host_ip": "127.0.0.1"},
                {"target": 8080, "published": "8280", "host_ip": "127.0.0.1"},
            ]
        },
    }
}


class Steps:
    """Stands for everything that `up` calls, and remembers what it was given."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.model: dict[str, Any] = MODEL
        self.states: list[State] = []
        self.volumes: list[str] = []

    def step(self, name: str, answer: object = None) -> Callable[..., object]:
        def called(*arguments: object, **options: object) -> object:
            self.given[name] = (*arguments, *options.values())
            return answer

        return called


def replaced(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Replace what `up` calls, for one test."""
    steps = Steps()
    answers: list[tuple[object, str, object]] = [
        (inspect, "require", ENGINE),
        (dotenv, "check", None),
        (deployed, "variables", {"LETTA_STACK_IMAGE": "deployed"}),
        (disk, "check", None),
        (preflight, "ports", None),
        (preflight, "open_api", None),
        (preflight, "certificate", None),
        (preflight, "architecture", None),
        (secret_files, "prepare", {"LETTA_STACK_SECRETS": "/secrets"}),
        (inputs, "data_directory", None),
        (lifecycle, "start", None),
        (http_wait, "wait_for_status", 0.0),
        (free_space, "teach", None),
        (exports, "lines", "export A=1"),
        (store, "context", "the project's authority"),
    ]
    for module, name, answer in answers:
        monkeypatch.setattr(module, name, steps.step(name, answer))
    prepare = steps.step("sources", {"REDIS_IMAGE": "redis"})
    monkeypatch.setattr(Sources, "prepare", lambda _, *given, **named: prepare(*given, **named))
    monkeypatch.setattr(Compose, "config", lambda _: steps.model)
    monkeypatch.setattr(Compose, "states", lambda _: steps.states)
    monkeypatch.setattr(Compose, "volumes", lambda _: steps.volumes)
    return steps
