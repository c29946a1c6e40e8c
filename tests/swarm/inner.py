"""Engines in containers, each a host of a swarm that is nobody else's; their network is the wire between the hosts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.wait import wait_until
from letta_stack.image import sources, third_party

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "letta-stack-test-swarm"
TAG = "letta-stack/test-swarm-engine"
CONTEXT = ROOT / "tests" / "swarm" / "engine"
API_PORT, GATEWAY_PORT = 2375, 8283
HOSTS = 3
START_SECONDS = 120.0


@dataclass(frozen=True)
class Engine:
    """One host, and how it is reached from here; its ports are others after each of its starts."""

    name: str

    @property
    def docker(self) -> dict[str, str]:
        """The environment for docker."""
        return {"DOCKER_HOST": f"tcp://{self._address(API_PORT)}"}

    @property
    def gateway(self) -> str:
        """Where what the swarm publishes on this host is."""
        return f"http://{self._address(GATEWAY_PORT)}"

    def _address(self, port: int) -> str:
        return process.capture(["docker", "port", self.name, str(port)]).splitlines()[0]

    def ask(self, *arguments: str) -> str:
        """Run a command of docker on this host; raise ``CommandFailed``."""
        return process.capture(["docker", *arguments], env=self.docker).strip()

    def load(self, images: Sequence[str]) -> None:
        """Bring images of this machine's engine to it."""
        command = 'docker save "$@" | DOCKER_HOST=$INNER docker load --quiet'
        process.run(["sh", "-c", command, "sh", *images], env={"INNER": self.docker["DOCKER_HOST"]})

    def variant(self, image: str, line: str, tag: str) -> None:
        """Make an image that differs in one line; to bring it from elsewhere would take all of its layers along."""
        container = self.ask("create", image)
        self.ask("commit", f"--change={line}", container, tag)
        self.ask("rm", container)

    def start(self) -> None:
        """Start it again after ``kill``."""
        process.run(["docker", "start", self.name])
        self.wait()

    def kill(self) -> None:
        """Cut its power."""
        process.run(["docker", "kill", self.name])

    def wait(self) -> None:
        """Wait until it answers."""
        wait_until(
            lambda: process.probe(["docker", "info"], env=self.docker).ok,
            timeout=START_SECONDS,
            describe=lambda: f"{self.name} does not answer: {self._last_words()}",
        )

    def _last_words(self) -> str:
        said = process.probe(["docker", "logs", "--tail=3", self.name])
        return said.stdout + said.stderr


def running() -> Iterator[list[Engine]]:
    """Start the engines, make a swarm of the first one, and remove all with what is in them."""
    ca = sources.find_ca("", os.environ)
    base = third_party.ensure(("DEBIAN_IMAGE",), source="auto", ca=ca)["DEBIAN_IMAGE"]
    build = ["docker", "build", "--quiet", "--tag", TAG, f"--build-arg=DEBIAN_IMAGE={base}"]
    process.run([*build, f"--build-context=images={ROOT / 'images' / 'bin'}", str(CONTEXT)])
    engines = [Engine(f"{NAME}-{number}") for number in range(1, HOSTS + 1)]
    try:
        process.run(["docker", "network", "create", NAME])
        for one in engines:
            _run(one.name)
        for one in engines:
            one.wait()
        engines[0].ask("swarm", "init")
        yield engines
    finally:
        for one in engines:
            process.probe(["docker", "rm", "--force", "--volumes", one.name])
            process.probe(["docker", "volume", "rm", one.name])
        process.probe(["docker", "network", "rm", NAME])


def _run(name: str) -> None:
    ports = [f"--publish=127.0.0.1::{port}" for port in (API_PORT, GATEWAY_PORT)]
    # What is in /run is of one start: a file there says that the engine of the last one still runs.
    data = [f"--volume={name}:/var/lib/docker", "--tmpfs=/run"]
    where = [f"--name={name}", f"--hostname={name}", f"--network={NAME}"]
    process.run(["docker", "run", "--detach", "--privileged", *where, *data, *ports, TAG])


def join(manager: Engine, others: Sequence[Engine]) -> None:
    """Let hosts join as managers: with one alone, nobody would manage when it is lost."""
    token = manager.ask("swarm", "join-token", "--quiet", "manager")
    for one in others:
        one.ask("swarm", "join", "--token", token, f"{manager.name}:2377")
