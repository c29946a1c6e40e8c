"""What the release tests share: registries in containers, builds of the tiny image, and pushes of them."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import requests

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.wait import wait_until
from letta_stack.image import sources, third_party
from letta_stack.registry import reference
from letta_stack.registry.retries import RetryPolicy
from letta_stack.release import tags
from letta_stack.release.plan import Wanted
from letta_stack.release.publisher import Publisher
from letta_stack.release.tags import Channel
from tests.release import tiny

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

RUN = f"letta-release-{secrets.token_hex(3)}"
"""Begins the name of everything that this run makes."""

DAY = dt.date(2026, 11, 24)
START_SECONDS = 30.0
QUICK = RetryPolicy(first_wait=0.005, longest_wait=0.02, read_timeout=10.0)


def registry_image() -> str:
    """Build the registry's image; return its name."""
    name = "letta-stack/test-registry"
    context = ROOT / "images"
    process.run(
        [
            *("docker", "build", "--quiet", "--tag", name, *base_images("DEBIAN_IMAGE")),
            *("--file", str(context / "registry" / "Dockerfile"), str(context)),
        ]
    )
    return name


@contextlib.contextmanager
def registry_container(
    image: str,
    *options: str,
    environment: Mapping[str, str] | None = None,
    accept_status: int = 200,
    ca: Path | None = None,
) -> Iterator[str]:
    """Run a registry on a free loopback port; give its ``HOST:PORT``. ``ca`` means TLS and a login."""
    scheme, ready = ("https", 401) if ca else ("http", accept_status)
    variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
    name = f"{RUN}-{secrets.token_hex(3)}"
    # A container that could not start is there all the same.
    try:
        process.capture(
            [
                *("docker", "run", "--detach", "--name", name, "--publish=127.0.0.1::5000"),
                *variables,
                *options,
                image,
            ]
        )
        host = process.capture(["docker", "port", name, "5000/tcp"]).split()[0]

        def answers() -> bool:
            with contextlib.suppress(requests.RequestException):
                url = f"{scheme}://{host}/v2/"
                verify = str(ca) if ca else True
                return requests.get(url, timeout=2, verify=verify).status_code == ready
            return False

        wait_until(answers, timeout=START_SECONDS, describe=f"the registry {name} on {host}")
        yield host
    finally:
        process.probe(["docker", "rm", "--force", "--volumes", name])


def base_images(*pins: str) -> list[str]:
    """Return the build arguments that name third-party images, which are made or pulled if need be."""
    found = third_party.ensure(pins, source="auto", ca=ca_file())
    return [f"--build-arg={pin}={found[pin]}" for pin in pins]


def ca_file() -> Path | None:
    """Return the CA that this machine's builds need, None if it is one with a normal network."""
    return sources.find_ca("", os.environ)


def container_of(host: str) -> str:
    """Return the id of the container that publishes ``host``."""
    port = host.rpartition(":")[2]
    return process.capture(["docker", "ps", "--quiet", f"--filter=publish={port}"]).strip()


def execute(host: str, *command: str) -> str:
    """Run a command inside the registry that publishes ``host``; return what it prints."""
    return process.capture(["docker", "exec", container_of(host), *command])


@dataclass
class Builds:
    """OCI layouts of the tiny image, each built once."""

    directory: Path
    done: dict[tuple[str, bytes], Path] = field(default_factory=dict)

    def path(self, version: str, payload: bytes = b"one\n") -> Path:
        """Return the layout of a version; another payload is another build of it."""
        key = (version, payload)
        if key not in self.done:
            number = len(self.done)
            # BuildKit knows a context by its directory's name, and in it a file by name, size and time.
            name = f"context-{hashlib.sha256(payload).hexdigest()[:12]}"
            context = tiny.write_context(self.directory / name, payload)
            output = self.directory / f"image{number}.tar"
            tiny.build(context, output, version=version)
            self.done[key] = output
        return self.done[key]


def wanted_of(
    version: str,
    *,
    channel: Channel = Channel.RELEASE,
    platforms: tuple[str, ...] = tiny.PLATFORMS,
    allow_older: bool = False,
) -> Wanted:
    """Return what is to be released of the tiny image."""
    return Wanted(
        channel=channel,
        version=tags.parse_version(version),
        commit=tiny.COMMIT,
        day=DAY,
        platforms=platforms,
        labels=tiny.labels(version),
        allow_older=allow_older,
    )


def publisher(
    hosts: str | Sequence[str],
    repository: str,
    version: str,
    *,
    say: Callable[[str], None] = print,
    policy: RetryPolicy = QUICK,
    ca: Path | None = None,
    plain_http: Sequence[str] = (),
    wanted: Wanted | None = None,
) -> Publisher:
    """Return what ``inv build --push`` makes of its flags."""
    targets = reference.parse_targets([hosts] if isinstance(hosts, str) else hosts, [repository])
    return Publisher(
        wanted or wanted_of(version), targets, say, ca=ca, plain_http=plain_http, policy=policy
    )


def push(
    hosts: str | Sequence[str],
    repository: str,
    version: str,
    layout: Path,
    *,
    say: Callable[[str], None] = print,
    policy: RetryPolicy = QUICK,
    ca: Path | None = None,
    plain_http: Sequence[str] = (),
    wanted: Wanted | None = None,
) -> str:
    """Push a layout as ``inv build --push`` does after its build; return the digest."""
    one = publisher(
        hosts,
        repository,
        version,
        say=say,
        policy=policy,
        ca=ca,
        plain_http=plain_http,
        wanted=wanted,
    )
    return one.push(lambda path: copy(layout, path), needed_bytes=layout.stat().st_size)


def copy(source: Path, destination: Path) -> None:
    """Stand for a build that comes from the cache."""
    shutil.copyfile(source, destination)
