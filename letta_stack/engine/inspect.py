"""Finds out which container engine answers, and whether this project can work with it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from dataclasses import dataclass
from typing import Any

from letta_stack.base import process
from letta_stack.errors import (
    BuildxMissing,
    ComposeMissing,
    EngineMissing,
    EngineNotPermitted,
    EngineStoreWrong,
    EngineTooOld,
    EngineUnreachable,
    LettaStackError,
)

Version = tuple[int, int, int]

OLDEST_ENGINE: Version = (26, 0, 0)
OLDEST_BUILDX: Version = (0, 13, 0)
OLDEST_COMPOSE: Version = (2, 26, 0)  # include path lists, !override, env_file.required

CONTAINERD_STORE = "io.containerd.snapshotter.v1"
ANSWER_SECONDS = 20.0  # an engine that is slower than this to say its version does not work
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Engine:
    """The engine that answers, in its own words. A missing plugin has version ""."""

    version: str
    containerd_store: bool
    architecture: str
    root_dir: str
    buildx: str
    compose: str
    processors: int = 0
    memory: int = 0  # bytes; 0 for both if the engine does not say
    nvidia: bool = False  # whether containers can have NVIDIA GPUs

    def __str__(self) -> str:
        """Describe the engine in one line."""
        store = "containerd" if self.containerd_store else "classic"
        return (
            f"engine {self.version} ({self.architecture}, {store} image store), "
            f"buildx {self.buildx or 'missing'}, compose {self.compose or 'missing'}"
        )


def require() -> Engine:
    """Return the engine that answers, or raise what is wrong with it."""
    found = look()
    if problem := problem_of(found):
        raise problem
    return found


def look() -> Engine:
    """Ask the client for its engine and plugins; raise if there is no client or no answer."""
    if shutil.which("docker") is None:
        raise EngineMissing(
            "no container engine here; run `inv engine` as root on Debian or Ubuntu, elsewhere "
            "install Docker Engine 26 or newer with its buildx and compose plugins"
        )
    info = process.probe(["docker", "info", "--format", "{{json .}}"], timeout=ANSWER_SECONDS)
    try:
        facts: dict[str, Any] = json.loads(info.stdout)
    except json.JSONDecodeError:
        facts = {}
    if not facts.get("ServerVersion"):
        raise explain_silence(" ".join([info.stderr, *(facts.get("ServerErrors") or [])]))
    return parse(facts)


def explain_silence(client_says: str) -> LettaStackError:
    """Turn what the client says about an engine that does not answer into the next step."""
    if "permission denied" in client_says.lower():
        return EngineNotPermitted(
            "this user may not open the engine's socket; add it to the `docker` group and log in "
            "again, or run the same command as root"
        )
    if host := os.environ.get("DOCKER_HOST"):
        return EngineUnreachable(
            f"no engine answers at DOCKER_HOST={host}; start it, or unset DOCKER_HOST"
        )
    reason = next(reversed(client_says.strip().splitlines()), "no reason given")
    return EngineUnreachable(
        f"the docker client is installed, but no engine answers ({reason}); start the engine, "
        "or run `inv engine` as root"
    )


def parse(facts: dict[str, Any]) -> Engine:
    """Read the JSON of `docker info`."""
    plugins = {
        plugin["Name"]: plugin.get("Version", "")
        for plugin in (facts.get("ClientInfo") or {}).get("Plugins") or []
        if not plugin.get("Err")
    }
    machine = facts["Architecture"]
    return Engine(
        version=facts["ServerVersion"],
        containerd_store=["driver-type", CONTAINERD_STORE] in (facts.get("DriverStatus") or []),
        architecture=ARCHITECTURES.get(machine, machine),
        root_dir=facts.get("DockerRootDir", ""),
        buildx=plugins.get("buildx", ""),
        compose=plugins.get("compose", ""),
        processors=facts.get("NCPU", 0),
        memory=facts.get("MemTotal", 0),
        nvidia=has_nvidia(facts),
    )


def has_nvidia(facts: dict[str, Any]) -> bool:
    """Say whether NVIDIA's Container Toolkit is set up: as a runtime, or, since engine 28, as devices by the CDI."""
    devices = [str(one.get("ID", "")) for one in facts.get("DiscoveredDevices") or []]
    return "nvidia" in (facts.get("Runtimes") or {}) or any(
        one.startswith("nvidia.com/gpu") for one in devices
    )


def problem_of(engine: Engine) -> LettaStackError | None:
    """Return what keeps this project from working with the engine, if anything does."""
    if parse_version(engine.version) < OLDEST_ENGINE:
        return EngineTooOld(
            f"engine {engine.version} is older than {render(OLDEST_ENGINE)}; upgrade it from your "
            "distribution or from Docker, which restarts its containers"
        )
    if not engine.containerd_store:
        return EngineStoreWrong(
            'the engine uses the classic image store; add {"features": {"containerd-snapshotter": '
            "true}} to its daemon.json and restart it when its containers allow"
        )
    if parse_version(engine.buildx) < OLDEST_BUILDX:
        return BuildxMissing(
            f"buildx {engine.buildx or 'is missing'}; install the docker-buildx package "
            f"({render(OLDEST_BUILDX)} or newer), `inv engine` as root does it on Debian and Ubuntu"
        )
    if parse_version(engine.compose) < OLDEST_COMPOSE:
        return ComposeMissing(
            f"compose {engine.compose or 'is missing'}; install the compose plugin "
            f"({render(OLDEST_COMPOSE)} or newer), `inv engine` as root does it on Debian and Ubuntu"
        )
    return None


def parse_version(text: str) -> Version:
    """Read the first three numbers: "v2.26.1-4" and "26.1.5+dfsg1" are how the field writes versions."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        return (0, 0, 0)
    return (int(match[1]), int(match[2]), int(match[3] or 0))


def render(version: Version) -> str:
    """Write a version the short way: 26, 2.26."""
    major, minor, patch = version
    return re.sub(r"(\.0)+$", "", f"{major}.{minor}.{patch}") if major else f"0.{minor}"


def native_architecture() -> str:
    """Return this machine's own architecture in the engine's words."""
    machine = platform.machine().lower()
    return ARCHITECTURES.get(machine, machine)
