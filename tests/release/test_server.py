"""The server's own image through the same machinery: `inv build --push`, pulled by digest, started, asked for its health."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.base import git, process
from letta_stack.base.paths import ROOT
from letta_stack.base.wait import wait_until
from letta_stack.image import server, third_party
from letta_stack.image.server import Request
from letta_stack.image.sources import PLATFORMS
from letta_stack.image.version import agree, parse
from letta_stack.pins.file import Pins
from letta_stack.registry import reference
from letta_stack.registry.layout import Layout
from letta_stack.registry.repository import Repository
from letta_stack.release.build import output_options
from letta_stack.topology.catalogue import HEALTH_PATH
from tests.release import observe, support
from tests.release.conftest import ALL_FAULTS
from tests.release.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from letta_stack.registry.oci import Image

LETTA = Pins.load()["LETTA_VERSION"]
REPOSITORY = "letta/letta"
UNCHANGED_SECONDS = 10.0
# As in images/bin/clamp-times.
MOMENT = 1_767_225_600
A_DAY = 86_400
START_SECONDS = 120.0
# Python under emulation is about 15 times slower.
EMULATED_START_SECONDS = 600.0

pytestmark = pytest.mark.timeout(900, func_only=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Start this machine's image, with --all-faults the other one too: emulated, it takes minutes."""
    if "started" in metafunc.fixturenames:
        metafunc.parametrize("started", released(metafunc.config), indirect=True)


def released(config: pytest.Config) -> tuple[str, ...]:
    """Return the platforms to push for."""
    return PLATFORMS if config.getoption(ALL_FAULTS, default=False) else (third_party.native(),)


def inv_push(host: str, platforms: Sequence[str]) -> str:
    """Push the checkout as it is; return the digest that the command prints."""
    inv = [sys.executable, "-m", "invoke", "build", "--push", "--allow-dirty"]
    inv += [f"--platform={platform}" for platform in platforms]
    pushed = subprocess.run(
        [*inv, f"--repository={host}/{REPOSITORY}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return pushed.stdout.strip()


@pytest.fixture(scope="session")
def pushed(large_registry: str, pytestconfig: pytest.Config) -> str:
    return inv_push(large_registry, released(pytestconfig))


def test_the_release_is_complete(large_registry: str, pushed: str) -> None:
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", pushed)
    assert pushed in observe.tags_of(large_registry, REPOSITORY).values()
    assert not observe.defects(large_registry, REPOSITORY)


def test_an_unchanged_push_finds_out_in_seconds_that_nothing_is_to_be_done(
    large_registry: str, pushed: str, pytestconfig: pytest.Config
) -> None:
    before = observe.tags_of(large_registry, REPOSITORY)
    with FaultProxy(large_registry) as proxy:
        started = time.monotonic()
        assert inv_push(proxy.host, released(pytestconfig)) == pushed
        assert time.monotonic() - started < UNCHANGED_SECONDS
        assert proxy.uploaded_bytes == 0
        assert not [seen for seen in proxy.seen if seen.method == "PUT"]
    assert observe.tags_of(large_registry, REPOSITORY) == before


def layers(image: Image) -> dict[str, list[str]]:
    return {
        platform: [blob.digest for blob in manifest.blobs[1:]]
        for platform, manifest in image.platforms.items()
    }


def test_a_later_commit_has_the_same_layers_because_no_file_names_the_time_of_its_build(
    large_registry: str, pushed: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    path = tmp_path / "later.tar"
    found = git.read(ROOT)
    later = replace(found, epoch=found.epoch + A_DAY)
    request = Request(released(pytestconfig), ca=support.ca_file())
    server.run(request, output_options(str(path), later), {})
    (target,) = reference.parse_targets([large_registry], [REPOSITORY])

    with Repository(target) as source, Layout(path) as layout:
        assert layers(source.verify(pushed)) == layers(layout.image)
        for platform, manifest in layout.image.platforms.items():
            for layer in manifest.blobs[1:]:
                with (
                    layout.open_blob(layer) as stream,
                    tarfile.open(fileobj=stream, mode="r|*") as archive,
                ):
                    newest = max(archive, key=lambda member: member.mtime)
                assert newest.mtime <= MOMENT, f"{platform}: {newest.name}"


@pytest.fixture
def started(request: pytest.FixtureRequest, large_registry: str, pushed: str) -> Iterator[str]:
    """Pull by digest and run; give the URL of the API."""
    platform = str(request.param)
    reference = f"{large_registry}/{REPOSITORY}@{pushed}"
    name = f"{support.RUN}-{platform.rpartition('/')[2]}"
    try:
        process.run(["docker", "pull", "--quiet", f"--platform={platform}", reference])
        process.run(
            [
                *("docker", "run", "--detach", "--name", name, f"--platform={platform}"),
                *("--publish=127.0.0.1::8283", reference),
            ]
        )
        yield f"http://{process.capture(['docker', 'port', name, '8283/tcp']).split()[0]}"
    finally:
        process.probe(["docker", "rm", "--force", "--volumes", name])
        process.probe(["docker", "image", "rm", "--force", reference])


def test_what_was_pulled_by_digest_is_healthy_and_says_its_version(
    started: str, request: pytest.FixtureRequest
) -> None:
    platform = request.node.callspec.params["started"]

    def health() -> str | None:
        try:
            answer = requests.get(f"{started}{HEALTH_PATH}", timeout=30)
        except requests.RequestException:
            return None
        return str(answer.json()["version"]) if answer.ok else None

    found = wait_until(
        health,
        timeout=START_SECONDS if platform == third_party.native() else EMULATED_START_SECONDS,
        interval=0.5,
        describe=lambda: (
            process.probe(["docker", "logs", "--tail=30", f"{support.RUN}-{platform[6:]}"]).stdout
        ),
    )

    agree(parse(LETTA), {HEALTH_PATH: found})
