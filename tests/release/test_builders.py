"""Every builder gives the same kind of release, and what was released starts on both architectures."""

from __future__ import annotations

import contextlib
import functools
import re
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.wait import wait_until
from letta_stack.errors import CommandFailed, DoesNotStart, NotReproducible
from letta_stack.image import third_party
from letta_stack.registry.layout import Layout
from letta_stack.release import trial_start
from letta_stack.release.reproducible import check
from tests.release import observe, support, tiny

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.release.support import Builds

VERSION = "0.16.8"
FLOATING = ("0.16", "latest")


@pytest.fixture(scope="session")
def remote_builder() -> Iterator[str]:
    """Run a real BuildKit beside the engine and register it; give the builder's name."""
    name = f"{support.RUN}-buildkit"
    tag = "letta-stack/test-buildkit"
    context = ROOT / "tests" / "release" / "buildkit"
    process.run(
        [
            *(
                "docker",
                "build",
                "--quiet",
                "--tag",
                tag,
                *third_party.ca_secret(support.ca_file()),
            ),
            *support.base_images("DEBIAN_IMAGE", "GOLANG_IMAGE"),
            *(f"--build-context=images={ROOT / 'images/bin'}", str(context)),
        ]
    )
    process.run(
        [
            *("docker", "run", "--detach", "--privileged", "--name", name),
            *("--publish=127.0.0.1::1234", tag),
        ]
    )
    try:
        address = process.capture(["docker", "port", name, "1234/tcp"]).split()[0]
        create = ["docker", "buildx", "create", "--name", name, "--driver=remote"]
        process.capture([*create, f"tcp://{address}"])
        inspect = ["docker", "buildx", "inspect", name]
        wait_until(
            lambda: re.search(r"^Status:\s+running$", process.probe(inspect).stdout, re.MULTILINE),
            timeout=support.START_SECONDS,
            describe=lambda: process.probe(inspect).stdout,
        )
        yield name
    finally:
        process.probe(["docker", "buildx", "rm", "--force", name])
        process.probe(["docker", "rm", "--force", "--volumes", name])


@pytest.fixture(params=["engine", "remote"])
def builder(request: pytest.FixtureRequest) -> str:
    if request.param == "engine":
        return "default"
    return str(request.getfixturevalue("remote_builder"))


def test_a_build_becomes_a_release_of_two_architectures(
    builder: str, registry: str, repository: str, tmp_path: Path
) -> None:
    context = tiny.write_context(tmp_path / "context")
    build = functools.partial(tiny.build, context, version=VERSION, builder=builder)

    digest = support.publisher(registry, repository, VERSION).push(build, needed_bytes=0)

    assert observe.tags_of(registry, repository) == dict.fromkeys((VERSION, *FLOATING), digest)
    assert not observe.defects(registry, repository)


def test_two_builds_without_cache_are_the_same(builder: str, tmp_path: Path) -> None:
    context = tiny.write_context(tmp_path / "context")
    build = functools.partial(tiny.build, context, version=VERSION, builder=builder, no_cache=True)
    lines: list[str] = []

    check(build, needed_bytes=0, say=lines.append)

    assert [line.split(": ")[0] for line in lines] == list(tiny.PLATFORMS)


def test_two_builds_that_differ_name_the_layer_and_the_file(tmp_path: Path) -> None:
    context = tmp_path / "context"
    # Not of one length: BuildKit takes a file of the same name, size and time for the one that it has.
    payloads = iter((b"one", b"three"))

    def build(path: Path) -> None:
        tiny.write_context(context, next(payloads))
        tiny.build(context, path, version=VERSION)

    with pytest.raises(
        NotReproducible, match=r"linux/amd64: layer 2 \(COPY payload .*/payload: size, content"
    ):
        check(build, needed_bytes=0, say=print)


def test_a_build_that_fails_publishes_nothing(
    builder: str, registry: str, repository: str, tmp_path: Path
) -> None:
    context = tiny.write_context(tmp_path / "context")
    (context / "payload").unlink()
    build = functools.partial(tiny.build, context, version=VERSION, builder=builder)

    with pytest.raises(CommandFailed):
        support.publisher(registry, repository, VERSION).push(build, needed_bytes=0)

    assert observe.tags_of(registry, repository) == {}


@pytest.mark.parametrize("platform", tiny.PLATFORMS)
def test_what_is_pulled_by_digest_starts(
    platform: str, registry: str, repository: str, builds: Builds
) -> None:
    digest = support.push(registry, repository, VERSION, builds.path(VERSION))
    reference = f"{registry}/{repository}@{digest}"

    with removed(reference):
        process.run(["docker", "pull", "--quiet", f"--platform={platform}", reference])
        said = process.capture(["docker", "run", "--rm", f"--platform={platform}", reference])

    assert said == f"hello from {platform.removeprefix('linux/')}\n"


def test_an_image_that_ends_at_its_start_is_not_released(builds: Builds) -> None:
    with (
        Layout(builds.path(VERSION)) as layout,
        pytest.raises(DoesNotStart, match=r"ended at its start: hello from .*; nothing was pushed"),
    ):
        trial_start.health_version(layout, print)

    assert not third_party.is_local(layout.image.root.digest)


def test_an_image_for_other_machines_only_is_not_started(tmp_path: Path) -> None:
    (foreign,) = set(tiny.PLATFORMS) - {third_party.native()}
    context = tiny.write_context(tmp_path / "context")
    path = tmp_path / "image.tar"
    tiny.build(context, path, version=VERSION, platforms=(foreign,))
    lines: list[str] = []

    with Layout(path) as layout:
        assert not trial_start.health_version(layout, lines.append)

    assert lines == [
        f"not started before the push: built for {foreign}, this is {third_party.native()}"
    ]


@contextlib.contextmanager
def removed(reference: str) -> Iterator[None]:
    """Remove an image from the engine in the end."""
    try:
        yield
    finally:
        process.probe(["docker", "image", "rm", "--force", reference])
