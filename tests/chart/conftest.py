"""Helm itself, and a namespace of the cluster for trials."""

from __future__ import annotations

import os
import subprocess
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from python_on_whales import docker

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.topology import trial_cluster
from letta_stack.topology.clustered import Clustered
from letta_stack.topology.runners.kubernetes import CLUSTER, STOP_SECONDS, Kubernetes
from tests.smoke import modules, on_kubernetes
from tests.support import images

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# For one that starts beside others on a small machine.
SECONDS = 1200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "chart"):
            item.add_marker(pytest.mark.timeout(SECONDS))


@dataclass(frozen=True)
class Helm:
    """The program, for one namespace."""

    program: Path
    environment: Mapping[str, str]
    namespace: str

    def probe(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command; return how it ended."""
        return subprocess.run(
            [self.program, "--namespace", self.namespace, *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def __call__(self, *arguments: str) -> str:
        """Run a command that must succeed; return what it prints."""
        ended = self.probe(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def template(self, chart: Path, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects that a chart gives."""
        printed = self("template", "letta", str(chart), *arguments)
        return [one for one in yaml.load_all(printed, yaml.CSafeLoader) if one]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    program = tmp_path_factory.mktemp("helm") / "helm"
    with docker.container.create(modules.image("helm")) as container:
        container.copy_from("/usr/local/bin/helm", program)
    home = {f"HELM_{name}_HOME": str(program.parent) for name in ("CACHE", "CONFIG", "DATA")}
    return Helm(program, {**os.environ, **home}, "mine")


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart as it is in a release."""
    out = tmp_path_factory.mktemp("chart") / "letta-stack"
    on_kubernetes.inv("render", "--form", "helm", "--out", str(out))
    return out


@dataclass(frozen=True)
class Place:
    """An empty namespace of the cluster for trials, which has the images."""

    helm: Helm
    cluster: Kubernetes
    values: Mapping[str, Any]


@pytest.fixture(scope="session")
def place(helm: Helm) -> Iterator[Place]:
    """Leave nothing behind that was not there."""
    theirs = bool(trial_cluster.running())
    namespace = f"chart-{uuid.uuid4().hex[:6]}"
    cluster = Kubernetes(namespace, trial_cluster.CONTEXT, trial=True)
    settings = {**helm.environment, "KUBECONFIG": str(CLUSTER / "config")}
    settings["PATH"] = f"{CLUSTER}:{settings['PATH']}"
    there = Helm(helm.program, settings, namespace)
    try:
        on_kubernetes.inv("cluster.up")
        yield Place(there, cluster, _values())
    finally:
        there.probe("uninstall", "letta", "--ignore-not-found")
        # A namespace that still has pods looks again only after half of their time to stop.
        gone = ("--for=delete", "pods", "--all", f"--timeout={STOP_SECONDS}s")
        process.probe(cluster.argv("wait", *gone))
        process.run(cluster.argv("delete", "namespace", namespace, "--ignore-not-found"))
        if not theirs:
            on_kubernetes.inv("cluster.down", "--volumes")


def _values() -> dict[str, Any]:
    """Bring the images to the cluster; return their names there, as the chart's values have them."""
    model = Clustered.of("kubernetes").model(images.prepare(["prod"]))
    found = {name: service["image"] for name, service in model["services"].items()}
    named = {name: trial_cluster.name_of(image) for name, image in found.items()}
    trial_cluster.load({named[name]: image for name, image in found.items()})
    short = {name.removeprefix("letta-"): image for name, image in named.items()}
    return {
        "image": short["server"],
        "images": {name: short[name] for name in ("db", "nginx", "redis")},
    }
