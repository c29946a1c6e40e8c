"""`--images hub` against a registry that has the pinned names: a second engine, with that registry as mirror.

The second engine lives in the registry's network namespace: an engine removes or makes the interface docker0 and
rewrites the packet filter when it starts, and the one that everybody uses must not notice.
The images in it are built from Debian packages, so this also shows that they can stand under those names.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.errors import ImageUnavailable
from letta_stack.image import server, third_party
from letta_stack.image.hub import unavailable
from letta_stack.pins.file import Pins
from tests.release import support

if TYPE_CHECKING:
    from collections.abc import Iterator

PINS = Pins.load()
SERVED = ("DEBIAN_IMAGE", "POSTGRES_IMAGE", "REDIS_IMAGE", "GOLANG_IMAGE")
NOT_SERVED = "NGINX_IMAGE"
ENGINE_SECONDS = 60.0


@pytest.fixture(scope="module")
def mirror(ca: Path | None) -> Iterator[int]:
    """A registry that has the pinned names, except for one; its process."""
    substitutes = third_party.ensure(SERVED, source="debian", ca=ca)
    with support.registry_container(support.registry_image()) as host:
        for pin, reference in substitutes.items():
            name = PINS[pin] if "/" in PINS[pin] else f"library/{PINS[pin]}"
            served = f"{host}/{name}"
            process.run(["docker", "tag", reference, served])
            try:
                process.run(["docker", "push", "--quiet", served])
            finally:
                process.run(["docker", "image", "rm", served])
        question = ["docker", "inspect", "--format={{.State.Pid}}", support.container_of(host)]
        yield int(process.capture(question))


@pytest.fixture(scope="module")
def engine(mirror: int) -> Iterator[str]:
    """An engine with nothing in it that gets Docker Hub's names from the mirror; its address."""
    # A socket's path may have 107 bytes: pytest's directories are too long.
    root = Path(tempfile.mkdtemp(prefix="hub-"))
    config = {
        "bridge": "none",
        "data-root": str(root / "data"),
        "exec-root": str(root / "exec"),
        "features": {"containerd-snapshotter": True},
        "hosts": [f"unix://{root}/docker.sock"],
        "ip6tables": False,
        "iptables": False,
        "pidfile": str(root / "dockerd.pid"),
        "registry-mirrors": ["http://127.0.0.1:5000"],
    }
    (root / "daemon.json").write_text(json.dumps(config))
    log = root / "dockerd.log"
    namespace = ["nsenter", f"--net=/proc/{mirror}/ns/net"]
    # nsenter becomes what it starts, so this is the engine's process.
    pid = process.spawn([*namespace, "dockerd", f"--config-file={root}/daemon.json"], log=log)
    try:
        address = f"unix://{root}/docker.sock"
        wait_until(
            lambda: process.probe(["docker", "--host", address, "info"], timeout=5).ok,
            timeout=ENGINE_SECONDS,
            describe=f"the second engine (its log: {log})",
        )
        yield address
    finally:
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(autouse=True)
def hub(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine)
    unavailable.cache_clear()


def test_hub_takes_the_pinned_names_from_the_registry() -> None:
    found = third_party.ensure(SERVED, source="hub", ca=None)

    assert found == {pin: PINS[pin] for pin in SERVED}
    for command in ("postgres --version", "redis-server --version", "go version"):
        pin = {"p": "POSTGRES_IMAGE", "r": "REDIS_IMAGE", "g": "GOLANG_IMAGE"}[command[0]]
        said = process.capture(
            ["docker", "run", "--rm", "--network=none", found[pin], *command.split()]
        )
        assert said.strip()


def test_auto_takes_the_registry_when_it_answers() -> None:
    selection = third_party.choose(SERVED, source="auto", platforms=(third_party.native(),))

    assert selection.references == {pin: PINS[pin] for pin in SERVED}
    assert selection.rebuilt == {}


def test_auto_makes_only_what_the_registry_does_not_have(
    capsys: pytest.CaptureFixture[str],
) -> None:
    selection = third_party.choose(
        [*SERVED, NOT_SERVED], source="auto", platforms=(third_party.native(),)
    )

    assert list(selection.rebuilt) == [NOT_SERVED]
    assert selection.base == PINS["DEBIAN_IMAGE"]
    assert PINS[NOT_SERVED] in capsys.readouterr().err


def test_hub_names_the_image_that_the_registry_does_not_have() -> None:
    with pytest.raises(ImageUnavailable, match=f"cannot get {PINS[NOT_SERVED]} for linux/"):
        third_party.ensure([*SERVED, NOT_SERVED], source="hub", ca=None)


def test_the_dockerfile_builds_from_the_pinned_names() -> None:
    request = server.Request((third_party.native(),), images="hub", otelcol="release")
    references = third_party.choose(
        server.BASES, source="hub", platforms=request.platforms
    ).references
    name = "letta-stack/test-base"

    process.run(
        server.argv(
            request,
            references,
            otelcol="release",
            labels={},
            output=["--target=base", third_party.into_engine(name)],
        )
    )

    said = process.capture(["docker", "run", "--rm", "--network=none", name, "psql", "--version"])
    assert said.startswith("psql (PostgreSQL) 15")
