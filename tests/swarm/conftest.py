"""One stack for all tests: to load its images takes longer than to start it."""

from __future__ import annotations

import os
import shutil
import uuid
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.paths import ROOT, SECRETS, STATE
from letta_stack.image import server, third_party
from letta_stack.topology.catalogue import CLUSTERS
from tests.swarm import inner

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = f"swarm-{uuid.uuid4().hex[:6]}"
UP = ("inv", "up", "--env", "swarm", "--project", PROJECT, "--replicas", "1")
# For one that starts beside others on a small machine.
SECONDS = 1200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "swarm"):
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(scope="session")
def engine() -> Iterator[inner.Engine]:
    """The inner engine, with the images of the stack."""
    pins = third_party.choose(
        CLUSTERS["swarm"].images, source="auto", platforms=(third_party.native(),)
    )
    for engine in inner.running():
        image = os.environ.get(server.IMAGE_VARIABLE) or server.image_name()
        # The base, too: whether it is there decides whether the others count as built.
        engine.load([image, *pins.references.values(), *pins.rebuilt.values()])
        yield engine


@pytest.fixture(scope="session")
def environment(engine: inner.Engine) -> dict[str, str]:
    """Settings with which `inv` works on the inner engine, with the image that is there."""
    image = os.environ.get(server.IMAGE_VARIABLE) or server.image_name()
    return {**engine.docker, server.IMAGE_VARIABLE: image}


@pytest.fixture(scope="session")
def password(environment: dict[str, str]) -> Iterator[str]:
    """The password of the API of the stack, which is up."""
    try:
        process.run(UP, env=environment)
        yield (SECRETS / PROJECT / "server-password").read_text().strip()
    finally:  # the engine goes with all that is in it
        shutil.rmtree(SECRETS / PROJECT, ignore_errors=True)
        shutil.rmtree(STATE / f"{PROJECT}.stack", ignore_errors=True)
