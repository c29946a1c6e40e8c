"""Real registries from Debian's package, real builds by buildx, and the list of what was broken on purpose."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from letta_stack.base.paths import ROOT
from tests.release import secure as secure_registry
from tests.release import support
from tests.release.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.release.fault_proxy import Fault, Seen

# A sweep breaks each request of a push in turn; nothing in it takes minutes by itself.
TEST_SECONDS = 300
INJECTED = pytest.StashKey[list[tuple[str, str, str]]]()


ALL_FAULTS = "--all-faults"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        ALL_FAULTS,
        action="store_true",
        help="break every request of a push in every way, and push for both architectures",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[INJECTED] = []
    config.addinivalue_line("markers", "long: takes minutes; runs with -m long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "release"):
            # Fixtures may build images, which has no sensible limit.
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True), append=False)
    if "long" not in (config.option.markexpr or ""):
        dropped = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    injected = config.stash[INJECTED]
    if not injected:
        return
    terminalreporter.section(f"{len(injected)} injected faults")
    for (fault, outcome), count in Counter(
        (fault, outcome) for fault, _, outcome in injected
    ).items():
        terminalreporter.line(f"{count:4} x {fault}: {outcome}")
        requests = Counter(
            request for kind, request, end in injected if (kind, end) == (fault, outcome)
        )
        text = ", ".join(f"{request} ({times})" for request, times in requests.items())
        terminalreporter.line(f"       at {text}")


class FaultLog:
    """Collects the faults for the summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._injected = config.stash[INJECTED]

    def add(self, fault: Fault, request: Seen, outcome: str) -> None:
        self._injected.append((fault.value, request.kind, outcome))


@pytest.fixture(scope="session")
def fault_log(pytestconfig: pytest.Config) -> FaultLog:
    return FaultLog(pytestconfig)


@pytest.fixture(scope="session")
def registry_image() -> str:
    return support.registry_image()


@pytest.fixture(scope="session")
def registry(registry_image: str) -> Iterator[str]:
    """Give the HOST:PORT of an open registry without TLS. In memory: a push of the tiny image waits for disks only."""
    with support.registry_container(registry_image, "--tmpfs=/var/lib/registry:size=256m") as host:
        yield host


@pytest.fixture(scope="session")
def large_registry(registry_image: str) -> Iterator[str]:
    """Give the HOST:PORT of an open registry that has room for the server's image."""
    with support.registry_container(registry_image) as host:
        yield host


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> support.Builds:
    return support.Builds(tmp_path_factory.mktemp("builds"))


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """Give a repository that nobody else uses."""
    return f"letta/{secrets.token_hex(6)}"


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a docker configuration of its own, empty at first."""
    directory = tmp_path / "docker"
    directory.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    return directory / "config.json"


@pytest.fixture(scope="session")
def certificate(registry_image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return secure_registry.make_certificate(registry_image, tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def secure(
    registry_image: str, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[secure_registry.Secure]:
    """Run a registry with TLS and passwords."""
    directory = tmp_path_factory.mktemp("htpasswd")
    with secure_registry.running(registry_image, certificate, directory) as one:
        yield one


@pytest.fixture
def proxy(registry: str) -> Iterator[FaultProxy]:
    with FaultProxy(registry) as proxy:
        yield proxy
