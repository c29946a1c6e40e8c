"""One stack for all tests, on a swarm that grows: to load its images takes longer than to start it."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.base import process
from letta_stack.base.paths import ROOT, SECRETS, STATE
from letta_stack.image import server, third_party
from letta_stack.secrets import kinds
from letta_stack.secrets.store import Store
from letta_stack.topology.catalogue import CLUSTERS
from tests.smoke import harness
from tests.swarm import inner

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = f"swarm-{uuid.uuid4().hex[:6]}"
FLAGS = ("--env", "swarm", "--project", PROJECT)
INV = (sys.executable, "-m", "invoke")
# For one that starts beside others on a small machine.
SECONDS = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "swarm"):
            item.add_marker(pytest.mark.timeout(SECONDS))


@dataclass(frozen=True)
class Gateway(harness.Server):
    """The API as one host publishes it; no container of this machine's engine is behind it."""

    @property
    def password(self) -> str:
        """What the API asks for."""
        return Store.of(PROJECT).read(kinds.SERVER)

    def status(self, password: str = "") -> int:
        """Ask for the agents; return the status."""
        headers = {"Authorization": f"Bearer {password}"} if password else {}
        address = f"{self.url}/v1/agents/?limit=1"
        return requests.get(address, headers=headers, timeout=harness.REQUEST_SECONDS).status_code


@dataclass(frozen=True)
class Stack:
    """The stack, handled from the first host as an operator does."""

    hosts: list[inner.Engine]
    image: str
    references: list[str]  # all other images

    def environment(self, host: int = 0) -> dict[str, str]:
        """Settings with which `inv` works on a host."""
        return {**self.hosts[host].docker, server.IMAGE_VARIABLE: self.image}

    def gateway(self, host: int = 0) -> Gateway:
        """The API as a host publishes it."""
        return Gateway("", self.hosts[host].gateway)

    def inv(self, task: str, *arguments: str) -> str:
        """Run a task; return what it writes."""
        return process.capture([*INV, task, *FLAGS, *arguments], env=self.environment(), cwd=ROOT)

    def refused(self, task: str, *arguments: str, **settings: str) -> tuple[int, str]:
        """Run a task that must fail; return its exit code and what it says last."""
        environment = self.environment() | settings
        ended = process.probe([*INV, task, *FLAGS, *arguments], env=environment, cwd=ROOT)
        return ended.exit_code, (ended.stderr.strip().splitlines() or [""])[-1]

    def tasks(self, service: str) -> dict[str, str]:
        """Return the host of each task of a service that does its work, by the task."""
        options = ["--no-trunc", "--filter=desired-state=running", "--format=json"]
        answer = self.hosts[0].ask("service", "ps", *options, f"{PROJECT}_{service}")
        rows = [json.loads(line) for line in answer.splitlines()]
        return {row["ID"]: row["Node"] for row in rows if row["CurrentState"].startswith("Running")}


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack on one host, which is up."""
    source, platforms = "auto", (third_party.native(),)
    pins = third_party.choose(CLUSTERS["swarm"].images, source=source, platforms=platforms)
    # The base, too: whether it is there decides whether the others count as built.
    references = [*pins.references.values(), *pins.rebuilt.values()]
    for engines in inner.running():
        found = Stack(engines, server.image_name(), references)
        engines[0].load([found.image, *references])
        try:
            found.inv("up", "--replicas", "1")
            yield found
        finally:  # the engines go with all that is in them
            shutil.rmtree(SECRETS / PROJECT, ignore_errors=True)
            shutil.rmtree(STATE / f"{PROJECT}.stack", ignore_errors=True)


@pytest.fixture(scope="session")
def spread(stack: Stack) -> Stack:
    """The same stack on three hosts, a server on each."""
    others = stack.hosts[1:]
    inner.join(stack.hosts[0], others)
    for one in others:
        one.load([stack.image, *stack.references])
    stack.inv("up", "--replicas", str(len(stack.hosts)))
    return stack
