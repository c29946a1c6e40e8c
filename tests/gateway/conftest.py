"""The gateway as compose starts it, in front of a scripted server. No Letta server is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.engine import inspect
from letta_stack.image import server
from letta_stack.image.sources import Sources
from letta_stack.topology.catalogue import GATEWAY
from tests.gateway import driver
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from tests.gateway.driver import Gateway

# Above every wait in a test. Fixtures may build images.
TEST_SECONDS = 60


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes more than a minute; runs with -m long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))
    if not config.option.markexpr:
        dropped = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(harness.last_words())
    return report


@pytest.fixture(scope="session")
def nginx_image() -> str:
    """Make sure that nginx's image is there, and the server's, whose Python serves the scripted server."""
    sources = Sources.of(images="auto", otelcol="auto", letta_source="", ca="")
    names = sources.prepare([GATEWAY.image], inspect.require(), server=server.image_name())
    return names[GATEWAY.image]


@pytest.fixture(scope="session")
def network() -> Iterator[str]:
    with harness.network(f"{harness.RUN}-gateway") as name:
        yield name


@pytest.fixture(scope="session")
def backend(network: str, nginx_image: str) -> Iterator[str]:
    """Serve the scripted server under the name of the real one."""
    assert nginx_image
    with driver.backend("gateway-backend", network) as container:
        yield container


@pytest.fixture(scope="session")
def gateway(nginx_image: str, network: str, backend: str) -> Iterator[Gateway]:
    """Run the gateway with no setting at all."""
    assert backend
    with driver.gateway("gateway", nginx_image, network) as one:
        harness.expect(lambda: one.get("/health").ok, timeout=10, what="no scripted server")
        yield one


@pytest.fixture
def gateway_with(
    nginx_image: str, network: str, backend: str, request: pytest.FixtureRequest
) -> Callable[..., Gateway]:
    """Return a function that runs a gateway with the given settings until the test ends."""
    assert backend

    def run(**settings: str) -> Gateway:
        context = driver.gateway(
            f"gateway-{len(request.node.name)}", nginx_image, network, settings
        )
        one = context.__enter__()
        request.addfinalizer(lambda: context.__exit__(None, None, None))
        return one

    return run
