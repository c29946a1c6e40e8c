"""A running topology with a scripted language model, once per session; the logs when a test fails.

`--topology NAME` (repeatable) chooses what runs; without it everything does. Tests that ask for no topology run the image
by itself, as `docker run` does: they belong to `single`, the topology that is the image by itself.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pytest
from python_on_whales import docker

from letta_stack.base import process
from letta_stack.base.paths import ROOT, SECRETS, STATE
from letta_stack.certs import store as certificates
from letta_stack.engine import inspect
from letta_stack.image import third_party
from letta_stack.pins.file import Pins
from letta_stack.release import reports
from letta_stack.secrets import kinds
from letta_stack.secrets.store import Store
from letta_stack.topology.catalogue import CLUSTERS, SERVER, TOPOLOGIES
from letta_stack.topology.project import Project
from tests.smoke import alerts, harness, inference, on_kubernetes
from tests.smoke.harness import Served
from tests.support import images

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from letta_client import Letta
    from letta_client.types import AgentState

# Above every wait of the harness; nothing in a test itself takes minutes.
TEST_SECONDS = 180
IMAGE_BY_ITSELF = "single"
ARM64 = "linux/arm64"
# Each is another topology with one difference: it runs what is its own (`only`) and what is marked `basic`.
VARIANTS = {"hot", "observability", "services", "vllm"}
# Runs on request only; what asks nothing but the API, and what is its own.
KUBERNETES = "kubernetes"
KNOWN = {**TOPOLOGIES, KUBERNETES: CLUSTERS[KUBERNETES]}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--topology",
        action="append",
        choices=sorted(KNOWN),
        help="run the smoke tests of this topology (repeatable; default: all of one host)",
    )


def chosen(config: pytest.Config) -> Sequence[str]:
    return config.getoption("--topology") or list(TOPOLOGIES)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "only(*topologies): what other topologies do not have")
    config.addinivalue_line(
        "markers", "basic: runs also where a topology differs little from another"
    )
    config.addinivalue_line("markers", "api: asks nothing but the API, wherever the server runs")
    config.addinivalue_line(
        "markers", "last(order=2): breaks or stops the running topology; order=1 leaves it running"
    )
    config.addinivalue_line("markers", "long: takes minutes; runs with -m long")
    config.addinivalue_line("markers", "arm64: runs the other architecture under emulation; slow")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "topology" in metafunc.fixturenames:
        metafunc.parametrize("topology", chosen(metafunc.config), scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    dropped = [item for item in items if _is_smoke(item) and not _wanted(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
    items[:] = sorted((item for item in items if item not in dropped), key=_position)
    for item in items:
        if _is_smoke(item) and item.get_closest_marker("timeout") is None:
            # Fixtures may build images, which has no sensible limit; the product bounds its own waits.
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))


def _topology(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("topology") if callspec else None


def _wanted(item: pytest.Item) -> bool:
    topology = _topology(item)
    if item.get_closest_marker("long") and "long" not in (item.config.option.markexpr or ""):
        return False
    if topology is None:
        return IMAGE_BY_ITSELF in chosen(item.config)
    only = {name for marker in item.iter_markers("only") for name in marker.args}
    if "deployment" in getattr(item, "fixturenames", ()) and not KNOWN[topology].has_server:
        return False
    if topology == KUBERNETES and item.get_closest_marker("api") is None:
        return topology in only
    if topology in VARIANTS and item.get_closest_marker("basic") is None:
        return topology in only
    return not only or topology in only


def _position(item: pytest.Item) -> tuple[int, int]:
    """Order by topology, so that one at a time is up, and what breaks it comes last."""
    topology = _topology(item)
    rank = list(KNOWN).index(topology) if topology else len(KNOWN)
    last = item.get_closest_marker("last")
    return rank, last.kwargs.get("order", 2) if last else 0


def _is_smoke(item: pytest.Item) -> bool:
    return item.path.is_relative_to(ROOT / "tests" / "smoke")


def _subject(item: pytest.Item) -> str:
    if item.get_closest_marker("arm64"):
        return f"{IMAGE_BY_ITSELF}, start only"
    return _topology(item) or IMAGE_BY_ITSELF


def _platform(item: pytest.Item) -> str:
    native = third_party.native()
    if item.get_closest_marker("arm64") is None or native == ARM64:
        return native
    return f"{ARM64}, emulated"


def _listed(words: Iterable[str]) -> str:
    return "; ".join(sorted(set(words)))


@pytest.fixture(scope="session", autouse=True)
def self_describing_report(
    request: pytest.FixtureRequest, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Let a report say what was tested on what: `inv notes` makes a table of many."""
    items = [item for item in request.session.items if _is_smoke(item)]
    facts = reports.Facts(
        topology=_listed(map(_subject, items)),
        platform=_listed(map(_platform, items)),
        engine=inspect.require().version,
        letta=Pins.load()["LETTA_VERSION"],
    )
    for name, value in asdict(facts).items():
        record_testsuite_property(name, value)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and _is_smoke(item):
        report.sections.extend(harness.last_words())
    return report


@dataclass(frozen=True)
class Deployment(Served):
    """A topology that `inv up` has started."""

    stack: Project

    def service(self, name: str) -> str:
        """Return the name of a service's container."""
        return next(
            state.container for state in self.stack.runner.states() if state.service == name
        )

    @cached_property
    def password(self) -> str:
        """Read the generated password, in the way that `inv up` shows."""
        if self.stack.topology.secrets:
            return Store.of(self.stack.name).read(kinds.SERVER)
        return super().password

    def secrets(self) -> dict[str, str]:
        """Return the secrets of the stack by file name."""
        if not self.stack.topology.secrets:
            return super().secrets()
        store = Store.of(self.stack.name)
        return {name: kinds.password(name, store.read(name)) for name in kinds.NAMES}

    def execute(self, *command: str) -> str:
        """Run a command inside the container: as root, or as its only user where root can do nothing."""
        if not self.stack.topology.secrets:
            return super().execute(*command)
        return str(docker.container.execute(self.container, list(command)))


def inv(*arguments: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a task as an operator does."""
    process.run([sys.executable, "-m", "invoke", *arguments], env=environment, cwd=ROOT)


def provider_network(topology: str) -> str:
    """Return the network on which the server reaches its model providers, by its name in the model."""
    model = Project.of(topology).runner.config()
    mine = model["services"][SERVER]["networks"]
    return str(next(name for name in mine if not model["networks"][name].get("internal")))


@pytest.fixture(scope="session")
def data_services(topology: str) -> Iterator[Project]:
    """Bring a topology without a server up, and leave nothing of it behind."""
    images.prepare([topology])
    stack = Project.of(topology, project=f"{harness.RUN}-{topology}")
    ports = {one.flag: harness.free_port() for one in stack.topology.extra_ports}
    try:
        inv("up", *arguments_of(stack), *(word for pair in ports.items() for word in pair))
        yield stack
    finally:
        inv("down", *arguments_of(stack), "--volumes", "--yes")
        assert harness.leftovers(stack.name) == []


def arguments_of(stack: Project) -> Sequence[str]:
    return ("--env", stack.topology.name, "--project", stack.name)


@pytest.fixture(scope="session")
def hot_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a source tree that tests may change."""
    return harness.letta_source(tmp_path_factory.mktemp("source") / "letta")


@pytest.fixture(scope="session")
def deployment(topology: str, request: pytest.FixtureRequest) -> Iterator[Served]:
    """Bring a topology up and leave nothing of it behind."""
    if topology == KUBERNETES:
        with on_kubernetes.deployed() as cluster:
            yield cluster
        return
    options = [
        word for one in TOPOLOGIES[topology].extra_ports for word in (one.flag, harness.free_port())
    ]
    environment = harness.PROVIDER
    if TOPOLOGIES[topology].mounts_source:
        options += ["--letta-source", str(request.getfixturevalue("hot_source"))]
        options += ["--debug-port", harness.free_port()]
    if TOPOLOGIES[topology].language_model:
        environment = {**environment, **inference.environment()}
    with deployed(topology, topology, environment, *options) as one:
        yield one


@contextlib.contextmanager
def deployed(
    topology: str, name: str, settings: Mapping[str, str], *options: str
) -> Iterator[Deployment]:
    """Bring a topology up beside whatever else runs here; give it with the scripted model on its network."""
    images.prepare([topology])
    project = f"{harness.RUN}-{name}"
    if TOPOLOGIES[topology].monitoring:
        alerts.configure(Store.of(project))
    port = harness.free_port()
    replicas = "2" if any(one.replicated for one in TOPOLOGIES[topology].services) else ""
    environment = {**harness.blank_environment(), **settings}
    # Compose takes a network with these labels for its own. It must be there before the stack is: the server
    # looks for the models of its providers only once, when it starts.
    short_name = provider_network(topology)
    network = f"{project}_{short_name}"
    labels = {"com.docker.compose.project": project, "com.docker.compose.network": short_name}
    docker.network.create(network, labels=labels)
    try:
        with harness.script(
            f"{name}-stub",
            "llm_stub.py",
            networks=[network],
            network_aliases=[harness.STUB_HOST],
            publish=[("127.0.0.1:", harness.STUB_PORT)],
        ) as stub:
            inv(
                "up",
                "--env",
                topology,
                "--project",
                project,
                "--port",
                port,
                *(["--replicas", replicas] if replicas else []),
                *options,
                environment=environment,
            )
            stack = Project.of(topology, project=project, port=port, replicas=replicas)
            stack = stack.with_variables(environment)
            states = stack.runner.states()
            container = next(state.container for state in states if state.service == SERVER)
            yield Deployment(container, f"http://127.0.0.1:{port}", stub, stack)
    finally:
        inv("down", "--env", topology, "--project", project, "--volumes", "--yes")
        shutil.rmtree(SECRETS / project, ignore_errors=True)
        shutil.rmtree(certificates.directory(project), ignore_errors=True)
        shutil.rmtree(STATE / project, ignore_errors=True)
        assert harness.leftovers(project) == []


@pytest.fixture
def client(deployment: Deployment) -> Iterator[Letta]:
    with deployment.client() as one:
        yield one


@pytest.fixture
def agent(client: Letta) -> AgentState:
    return client.agents.create(
        model=harness.MODEL,
        embedding=harness.EMBEDDING,
        memory_blocks=[{"label": "human", "value": "Name: Ada."}],
    )


@pytest.fixture(scope="session")
def image() -> str:
    """Make sure that the image is there, without starting a topology."""
    images.prepare([IMAGE_BY_ITSELF])
    return harness.IMAGE
