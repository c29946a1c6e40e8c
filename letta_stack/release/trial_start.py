"""Starts an image before it is released: the server's own answer must be the version that its tag will name."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.errors import DoesNotStart, WaitTimedOut
from letta_stack.image import third_party
from letta_stack.image.contract import API_PORT
from letta_stack.topology.catalogue import HEALTH_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from letta_stack.registry.layout import Layout

START_SECONDS = 180.0  # ten times what a slow laptop needs
REQUEST_SECONDS = 5.0
RUNNING = ("docker", "container", "inspect", "--format={{.State.Running}}")


def health_version(layout: Layout, say: Callable[[str], None]) -> str:
    """Start the layout's image on this machine's engine; return the version in its health check's answer.

    Returns "" if the layout has no image for this machine, and says so: under emulation a start takes minutes.

    Raises:
        DoesNotStart: the container ended, or did not answer within ``START_SECONDS``.

    """
    platform = third_party.native()
    built_for = sorted(layout.image.platforms)
    if platform not in built_for:
        say(f"not started before the push: built for {', '.join(built_for)}, this is {platform}")
        return ""
    with _loaded(layout) as image, _running(image) as container:
        return _ask(container)


@contextlib.contextmanager
def _loaded(layout: Layout) -> Iterator[str]:
    """Lend the layout's image to the engine, under its digest and no name."""
    digest = layout.image.root.digest
    if third_party.is_local(digest):
        yield digest
        return
    process.capture(["docker", "load", "--quiet", "--input", str(layout.path)])
    try:
        yield digest
    finally:
        process.probe(["docker", "image", "rm", "--force", digest])


@contextlib.contextmanager
def _running(image: str) -> Iterator[str]:
    name = f"letta-stack-release-{secrets.token_hex(4)}"
    # A container that could not start is there all the same.
    try:
        process.capture(
            [
                *("docker", "run", "--detach", "--pull=never", "--name", name),
                *(f"--publish=127.0.0.1::{API_PORT}", image),
            ]
        )
        yield name
    finally:
        process.probe(["docker", "rm", "--force", "--volumes", name])


def _ask(container: str) -> str:
    import requests  # noqa: PLC0415 - slow, and not needed when nothing is released

    address = process.probe(["docker", "port", container, f"{API_PORT}/tcp"]).stdout.split()
    url = f"http://{address[0] if address else container}{HEALTH_PATH}"

    def version() -> str | None:
        with contextlib.suppress(requests.RequestException):
            answer = requests.get(url, timeout=REQUEST_SECONDS)
            if answer.ok:
                return str(answer.json()["version"])
        if process.probe([*RUNNING, container]).stdout.strip() != "true":
            raise DoesNotStart(
                f"the image that was built ended at its start: {_last_words(container)}"
            )
        return None

    try:
        return wait_until(version, timeout=START_SECONDS, describe=f"{url} did not answer")
    except WaitTimedOut as error:
        raise DoesNotStart(
            f"the image that was built does not start: {error}; {_last_words(container)}"
        ) from None


def _last_words(container: str) -> str:
    """Return the last line of a container's log."""
    logs = process.probe(["docker", "logs", "--tail=1", container])
    line = (logs.stdout + logs.stderr).strip() or "it wrote nothing"
    return f"{line}; nothing was pushed, look for the cause with `inv build` and `inv up`"
