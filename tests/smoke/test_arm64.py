"""The image for the other architecture, made without emulation, starts: under emulation, or on the real thing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import requests
from python_on_whales import docker

from letta_stack.image import server, sources
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Iterator

PLATFORM = "linux/arm64"
# Emulation is four to ten times slower than the processor.
START_SECONDS = 900.0
WAIT_SECONDS = "600"

pytestmark = [pytest.mark.arm64, pytest.mark.timeout(START_SECONDS + 120, func_only=True)]


@pytest.fixture(scope="module")
def arm64_image() -> Iterator[str]:
    """Build under a name of its own: the usual one stays this machine's."""
    name = f"{server.image_name()}-{harness.RUN}"
    request = server.Request((PLATFORM,), ca=sources.find_ca("", os.environ))
    server.run(request, ("--load", f"--tag={name}"), {})
    yield name
    docker.image.remove(name)


def test_the_arm64_image_starts_answers_and_stops(arm64_image: str) -> None:
    environment = {"LETTA_STACK_WAIT_TIMEOUT": WAIT_SECONDS}
    with harness.server(
        "arm64", image=arm64_image, environment=environment, platform=PLATFORM
    ) as server:
        server.wait_until_healthy(START_SECONDS)

        assert server.execute("uname", "-m").strip() == "aarch64"
        answer = requests.get(harness.health_url(server.url), timeout=60)
        assert answer.status_code == 200
        assert answer.json()["status"] == "ok"

        docker.container.stop(server.container, time=120)
        assert server.inspect().state.exit_code == 0
        assert "database system is shut down" in server.logs()
