"""`inv cluster.up`: a Kubernetes node in one container, from pinned Go modules and Debian packages."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

from letta_stack.base import console, content_hash, lock, process
from letta_stack.base.paths import ROOT
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.engine import inspect
from letta_stack.errors import BuildFailed, ClusterFailed, CommandFailed, WaitTimedOut
from letta_stack.image import sources, third_party
from letta_stack.topology.runners.kubernetes import CLUSTER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "letta-stack-cluster"
CONTEXT = "letta-stack"
DIRECTORY = ROOT / "images" / "kubernetes"
PROGRAMS = ROOT / "images" / "bin"
BASES = ("DEBIAN_IMAGE", "GOLANG_IMAGE")
VOLUMES = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/node")
PORT = 6443  # inside
NODE_PORT = 30083
"""The port of a Service of type NodePort that can be reached from this machine."""
READY_SECONDS = 180.0
PARTS = "/run/node"
"""Where images/kubernetes/node/start has the processes of its parts."""
CTR = ("ctr", "--namespace", "k8s.io", "images")


def up(*, ca: str = "") -> None:
    """Make and start the node, and leave kubectl and its configuration for `inv up --env kubernetes`.

    Args:
        ca: PEM file of a corporate CA for the build, "" for the environment's.

    Raises:
        BuildFailed: the image cannot be made.
        ClusterFailed: the node does not become ready.

    """
    inspect.require()
    with lock.held(NAME):
        image = _image(sources.find_ca(ca, os.environ))
        if running() != image:
            process.probe(["docker", "rm", "--force", NAME])
            process.run(_run(image))
        with Progress("starting the cluster"):
            _wait_ready()
        _describe(image)
    console.result(
        f"the cluster is ready: inv up --env kubernetes --context {CONTEXT} --database trial"
    )


def down(*, volumes: bool) -> None:
    """Remove the node, with ``volumes`` also what is in it."""
    process.probe(["docker", "rm", "--force", NAME])
    if volumes:
        names = [_volume(path) for path in VOLUMES]
        process.run(["docker", "volume", "rm", "--force", *names])
        shutil.rmtree(CLUSTER, ignore_errors=True)


def name_of(image: str) -> str:
    """Return the name of an image in the node: of its content, so that another build is another rollout."""
    content = process.capture(["docker", "image", "inspect", "--format={{.Id}}", image]).strip()
    repository = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return f"{NAME}/{repository}:{content.removeprefix('sha256:')[: content_hash.SHORT]}"


def kill(part: str, *, hold: bool = False) -> None:
    """Kill a part of the node, which is started again: after a second, or once ``release`` was called."""
    holding = f"touch {PARTS}/{part}.hold; " if hold else ""
    inside("sh", "-c", f"{holding}kill -KILL $(cat {PARTS}/{part}.pid)")


def release(part: str) -> None:
    """Let a part that was held start again."""
    inside("rm", "-f", f"{PARTS}/{part}.hold")


def kill_container(identity: str) -> None:
    """Kill the first process of a pod's container, as a crash does; ``identity`` is the one that the pod's status has."""
    task = identity.rpartition("/")[2]
    inside("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", task)


def inside(*command: str) -> None:
    """Run a command in the node. Raises ``CommandFailed``."""
    process.capture(["docker", "exec", NAME, *command])


def load(images: Mapping[str, str]) -> None:
    """Bring images of the engine to the node, but for those that it has; ``images`` are by their name there."""
    there = process.capture(["docker", "exec", NAME, *CTR, "list", "--quiet"]).split()
    for name, image in images.items():
        if f"docker.io/{name}" in there:
            continue
        with Progress(f"loading {image} into the cluster"):
            _load(image, name)


def published(port: int) -> str:
    """Return address and port on this machine of a port of the node."""
    return process.capture(["docker", "port", NAME, str(port)]).splitlines()[0]


def _load(image: str, name: str) -> None:
    archive = CLUSTER / "image.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    process.capture(["docker", "tag", image, name])
    try:
        process.capture(["docker", "save", "--output", str(archive), name])
        with archive.open("rb") as stream:
            inside = [*CTR, "import", "-"]
            process.stream(["docker", "exec", "--interactive", NAME, *inside], stdin=stream)
    finally:
        archive.unlink(missing_ok=True)
        process.probe(["docker", "image", "rm", name])


def _image(ca: Path | None) -> str:
    bases = third_party.ensure(BASES, source="auto", ca=ca)
    facts = tuple(f"{name}={reference}" for name, reference in sorted(bases.items()))
    digest = content_hash.digest(ROOT, [DIRECTORY, PROGRAMS / "with-ca"], facts)
    reference = f"letta-stack/kubernetes:{digest[: content_hash.SHORT]}"
    if third_party.is_local(reference):
        return reference
    try:
        process.run(
            [
                *(
                    "docker",
                    "buildx",
                    "build",
                    "--provenance=false",
                    third_party.into_engine(reference),
                ),
                *third_party.ca_secret(ca),
                *(f"--build-arg={name}={value}" for name, value in bases.items()),
                *(f"--build-context=images={PROGRAMS}", str(DIRECTORY)),
            ]
        )
    except CommandFailed as error:
        raise BuildFailed(
            f"cannot build {reference} (the last lines above say why); run the same command again to go on, finished "
            "steps are kept"
        ) from error
    return reference


def running() -> str:
    """Return the image of the node that runs, "" if none does."""
    state = "{{if .State.Running}}{{.Config.Image}}{{end}}"
    return process.probe(["docker", "inspect", "--format", state, NAME]).stdout.strip()


def _run(image: str) -> list[str]:
    return [
        *("docker", "run", "--detach", "--privileged", "--cgroupns=private", f"--name={NAME}"),
        *(f"--volume={_volume(path)}:{path}" for path in VOLUMES),
        *("--tmpfs=/run", "--tmpfs=/tmp", "--hostname=node", f"--publish=127.0.0.1::{PORT}"),
        f"--publish=127.0.0.1::{NODE_PORT}",
        image,
    ]


def _volume(path: str) -> str:
    return f"{NAME}-{path.rpartition('/')[2]}"


def _wait_ready() -> None:
    def ready() -> bool:
        if not running():
            raise ClusterFailed(f"the node has ended: docker logs {NAME}\n{_last_words()}".rstrip())
        logs = process.probe(["docker", "exec", NAME, "test", "-e", "/run/node-ready"])
        return logs.ok

    try:
        wait_until(ready, timeout=READY_SECONDS, interval=0.5, describe="")
    except WaitTimedOut as error:
        raise ClusterFailed(
            f"the node is not ready after {READY_SECONDS:g} s: docker logs {NAME}; then `inv cluster.down --volumes`"
        ) from error


def _last_words() -> str:
    said = process.probe(["docker", "logs", "--tail", "2", NAME])
    return (said.stdout + said.stderr).strip()


def _describe(image: str) -> None:
    """Write kubectl's configuration, and kubectl itself."""
    CLUSTER.mkdir(parents=True, exist_ok=True)
    port = published(PORT).rpartition(":")[2]
    text = process.capture(["docker", "exec", NAME, "cat", "/var/lib/node/admin.conf"])
    config = CLUSTER / "config"
    config.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    config.write_text(
        text.replace(f"https://localhost:{PORT}", f"https://localhost:{port}"), encoding="utf-8"
    )
    mark = CLUSTER / "kubectl.image"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != image:
        process.capture(
            ["docker", "cp", f"{NAME}:/usr/local/bin/kubernetes", str(CLUSTER / "kubectl")]
        )
        mark.write_text(image, encoding="utf-8")
