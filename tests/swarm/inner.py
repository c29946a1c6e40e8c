"""A second engine in a container, so that its swarm is nobody else's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.wait import wait_until
from letta_stack.image import sources, third_party

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NAME = "letta-stack-test-swarm"
TAG = "letta-stack/test-swarm-engine"
CONTEXT = ROOT / "tests" / "swarm" / "engine"
API_PORT, GATEWAY_PORT = 2375, 8283
START_SECONDS = 60.0


@dataclass(frozen=True)
class Engine:
    """How to reach it from here."""

    docker: Mapping[str, str]  # the environment for docker
    gateway: str  # where what the swarm publishes is

    def load(self, images: Sequence[str]) -> None:
        """Bring images of this machine's engine to it."""
        command = 'docker save "$@" | DOCKER_HOST=$INNER docker load --quiet'
        inner = {"INNER": self.docker["DOCKER_HOST"]}
        process.run(["sh", "-c", command, "sh", *images], env=inner)


def running() -> Iterator[Engine]:
    """Start it, make a swarm of one host, and remove it with all that is in it."""
    ca = sources.find_ca("", os.environ)
    base = third_party.ensure(("DEBIAN_IMAGE",), source="auto", ca=ca)["DEBIAN_IMAGE"]
    build = ["docker", "build", "--quiet", "--tag", TAG, f"--build-arg=DEBIAN_IMAGE={base}"]
    process.run([*build, f"--build-context=images={ROOT / 'images' / 'bin'}", str(CONTEXT)])
    ports = [f"--publish=127.0.0.1::{port}" for port in (API_PORT, GATEWAY_PORT)]
    volume = f"--volume={NAME}:/var/lib/docker"
    try:
        process.run(
            ["docker", "run", "--detach", "--privileged", f"--name={NAME}", volume, *ports, TAG]
        )
        docker = {"DOCKER_HOST": f"tcp://{_address(API_PORT)}"}
        wait_until(
            lambda: process.probe(["docker", "info"], env=docker).ok,
            timeout=START_SECONDS,
            describe="the inner engine does not answer",
        )
        process.run(["docker", "swarm", "init"], env=docker)
        yield Engine(docker, f"http://{_address(GATEWAY_PORT)}")
    finally:
        process.probe(["docker", "rm", "--force", "--volumes", NAME])
        process.probe(["docker", "volume", "rm", NAME])


def _address(port: int) -> str:
    return process.capture(["docker", "port", NAME, str(port)]).splitlines()[0]
