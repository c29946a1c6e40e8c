"""What the smoke tests share: names, containers of their own, and a server seen from outside and inside."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import requests
import yaml
from letta_client import Letta
from python_on_whales import docker
from python_on_whales.exceptions import DockerException

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.base.wait import wait_until
from letta_stack.image import contract, third_party
from letta_stack.image.contract import API_PORT, PASSWORD_FILE
from letta_stack.image.server import BASES, Request, argv, image_name
from letta_stack.topology.catalogue import HEALTH_PATH, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from python_on_whales import Container

RUN = f"letta-smoke-{secrets.token_hex(3)}"
"""Begins the name of everything that this run makes, so that it meets nobody's stack and can be cleaned up."""

IMAGE = image_name()
VOLUME_PATH = contract.VOLUME
SECRETS_PATH = contract.SECRETS

STUB_HOST = "llm-stub"
STUB_PORT = 9911
PROVIDER_KEY = f"sk-smoke-{secrets.token_hex(16)}"
PROVIDER = {
    "OPENAI_API_KEY": PROVIDER_KEY,
    "OPENAI_BASE_URL": f"http://{STUB_HOST}:{STUB_PORT}/v1",
}
MODEL = "openai-proxy/gpt-4o-mini"
EMBEDDING = "openai/text-embedding-3-small"

REQUEST_SECONDS = 30.0
SLACK = 3  # sessions run side by side
START_SECONDS = 120.0  # mark to beat: 15 s on two idle cores; a busy machine is not a failure

_PROCESSES = """
import json, os
def read(path):
    with open(path, "rb") as file:
        return file.read().decode(errors="replace")
rows, parents = [], {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        status = dict(line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines())
        command = read(f"/proc/{pid}/cmdline").split("\\0")[:-1]
    except OSError:
        continue
    parents[int(pid)] = int(status["PPid"])
    rows.append([int(pid), int(status["Uid"].split()[1]), status["Name"].strip(), command])
def own(pid):
    while parents.get(pid, 0):
        pid = parents[pid]
    return pid == 1
print(json.dumps([row for row in rows if own(row[0])]))
"""


@dataclass(frozen=True)
class Process:
    """A process as its own container sees it."""

    pid: int
    uid: int
    name: str
    command: Sequence[str]


@dataclass(frozen=True)
class Server:
    """A container with the server in it, and where its API is published."""

    container: str
    url: str

    @cached_property
    def password(self) -> str:
        """Read the generated password, in the way that README shows."""
        return self.execute("cat", PASSWORD_FILE).strip()

    def client(self, password: str = "") -> Letta:
        """Return the SDK's client; one attempt per request, so that a flaky answer is a failure."""
        return Letta(
            base_url=self.url,
            api_key=password or self.password,
            timeout=REQUEST_SECONDS,
            max_retries=0,
        )

    def execute(self, *command: str) -> str:
        """Run a command as root inside the container and return its stdout."""
        return str(docker.container.execute(self.container, list(command), user="root"))

    def inspect(self) -> Container:
        """Return the engine's view of the container, fresh."""
        return docker.container.inspect(self.container)

    @property
    def health(self) -> str:
        """Return what the image's health check says: starting, healthy, unhealthy."""
        health = self.inspect().state.health
        return (health.status if health else None) or "none"

    def logs(self) -> str:
        """Return everything that the container wrote so far, stdout and stderr."""
        return str(docker.container.logs(self.container))

    def processes(self) -> list[Process]:
        """Return what the container's first process started.

        What the engine puts beside it (`docker exec`, the health check) has no parent in the container: the one that
        looks is such a process, and a health check that happens to begin shows for a moment as `runc`, as root.
        """
        rows = json.loads(self.execute("python3", "-c", _PROCESSES))
        return [Process(*row) for row in rows]

    def process(self, name: str) -> Process:
        """Return the oldest process of that name."""
        return min((one for one in self.processes() if one.name == name), key=lambda one: one.pid)

    def kill(self, process: Process) -> None:
        """Kill a process in the way in which a crash would."""
        self.execute("sh", "-c", f"kill -KILL {process.pid}")

    def secrets(self) -> dict[str, str]:
        """Return the secrets that the container made, by file name; hashes are no secrets."""
        names = [
            name
            for name in self.execute("ls", SECRETS_PATH).split()
            if not name.endswith(".sha256")
        ]
        return {name: self.execute("cat", f"{SECRETS_PATH}/{name}").strip() for name in names}

    def telemetry(self) -> list[dict[str, Any]]:
        """Return what the collector wrote to its files: one OTLP object per line."""
        found = self.execute(
            "sh", "-c", f"find {VOLUME_PATH}/otel -maxdepth 1 -name '*.json' -exec cat {{}} +"
        )
        return [json.loads(line) for line in found.splitlines() if line.strip()]

    def wait_until_healthy(self, timeout: float = START_SECONDS) -> None:
        """Return when the health check is green; give up early when the container has ended."""

        def healthy() -> bool:
            state = self.inspect().state
            assert state.status == "running", f"{state.status} with code {state.exit_code}"
            return self.health == "healthy"

        wait_until(healthy, timeout=timeout, interval=0.25, describe=lambda: self.health)


@dataclass(frozen=True)
class Served(Server):
    """A server that asks a scripted language model."""

    stub: str  # the model's container

    def provider_requests(self) -> list[dict[str, object]]:
        """Return what the scripted language model was asked so far."""
        answer = requests.get(published_url(self.stub, STUB_PORT) + "/_requests", timeout=10)
        answer.raise_for_status()
        asked: list[dict[str, object]] = answer.json()
        return asked


def blank_environment() -> dict[str, str]:
    """Return every variable that compose passes on, empty.

    It keeps the user's own `.env` and shell out of the tests (a `LETTA_PG_URI` there is a real database), and it
    is a test in itself: upstream's server crashes at some of them.
    """
    fragment = yaml.safe_load(
        (ROOT / "compose" / "services" / "server.yaml").read_text(encoding="utf-8")
    )
    return dict.fromkeys(fragment["services"][SERVER]["environment"], "")


def free_port() -> str:
    """Return a port that nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def published_url(container: str, port: int = API_PORT) -> str:
    """Return where a container's port was published with a port of the engine's choice."""
    bindings = docker.container.inspect(container).network_settings.ports or {}
    return f"http://127.0.0.1:{bindings[f'{port}/tcp'][0]['HostPort']}"


def mentions(text: str, secrets_by_name: Mapping[str, str]) -> list[str]:
    """Return the names of the secrets that occur in a text, so that a failure does not print them."""
    return [name for name, value in secrets_by_name.items() if value in text]


def span_names(telemetry: Iterable[Mapping[str, Any]], service: str) -> set[str]:
    """Return the names of the spans that a service sent."""
    names = set()
    for batch in telemetry:
        for resource in batch.get("resourceSpans", []):
            attributes = {
                one["key"]: one["value"].get("stringValue")
                for one in resource["resource"]["attributes"]
            }
            if attributes.get("service.name") == service:
                names |= {
                    span["name"] for scope in resource["scopeSpans"] for span in scope["spans"]
                }
    return names


@contextlib.contextmanager
def running(
    name: str, *, image: str = IMAGE, command: Sequence[str] = (), **options: Any
) -> Iterator[str]:
    """Run a container of this run's own in the background; remove it with its anonymous volumes."""
    full_name = f"{RUN}-{name}"
    try:
        docker.container.run(
            image, list(command), name=full_name, detach=True, pull="never", **options
        )
        yield full_name
    finally:
        docker.container.remove(full_name, force=True, volumes=True)


@contextlib.contextmanager
def server(
    name: str, *, environment: Mapping[str, str] | None = None, **options: Any
) -> Iterator[Server]:
    """Run the image as `docker run -p ... -v ... IMAGE` does, without compose."""
    volume = f"{RUN}-{name}"
    options.setdefault("publish", [("127.0.0.1:", API_PORT)])
    try:
        with running(
            name, envs=dict(environment or {}), volumes=[(volume, VOLUME_PATH)], **options
        ) as container:
            yield Server(container, published_url(container))
    finally:
        docker.volume.remove(volume)


@contextlib.contextmanager
def script(
    name: str, file: str, *, arguments: Sequence[str] = (), image: str = IMAGE, **options: Any
) -> Iterator[str]:
    """Serve one of the files under stub/ with the interpreter of the server's image: no further image is needed."""
    with running(
        name,
        image=image,
        command=[f"/stub/{file}", *arguments],
        entrypoint="/usr/bin/python3",
        user="65534:65534",
        healthcheck=False,
        volumes=[(ROOT / "tests" / "smoke" / "stub", "/stub", "ro")],
        **options,
    ) as container:
        yield container


@contextlib.contextmanager
def variant(name: str, line: str) -> Iterator[str]:
    """Make an image that differs from the server's in one line."""
    image = f"letta-stack/smoke:{RUN}-{name}"
    recipe = f"FROM {IMAGE}\n{line}\n"
    process.capture(["docker", "build", "--quiet", "--tag", image, "-"], stdin=recipe)
    try:
        yield image
    finally:
        process.probe(["docker", "image", "rm", image])


@contextlib.contextmanager
def network(name: str, **options: Any) -> Iterator[str]:
    """Make a network of this run's own."""
    created = docker.network.create(name, **options)
    try:
        yield created.name
    finally:
        docker.network.remove(name)


def letta_source(destination: Path) -> Path:
    """Write the source of the Letta that the image was built from, verified by the build."""
    request = Request(platforms=(third_party.native(),))
    selection = third_party.choose(BASES, source="auto", platforms=request.platforms)
    output = ["--target=letta-source", f"--output=type=local,dest={destination}"]
    process.run(argv(request, selection.references, otelcol="release", labels={}, output=output))
    destination.chmod(0o755)  # the builder makes it for its own user alone
    return destination


def leftovers(project: str) -> list[str]:
    """Return the containers, volumes and networks that a compose project still has."""
    label = f"com.docker.compose.project={project}"
    return [
        *(one.name for one in docker.container.list(all=True, filters=[("label", label)])),
        *(one.name for one in docker.volume.list(filters=[("label", label)])),
        *(one.name for one in docker.network.list(filters=[("label", label)])),
    ]


def last_words() -> Iterator[tuple[str, str]]:
    """Yield a title and the end of the log for every container of this run."""
    for container in docker.container.list(all=True, filters=[("name", RUN)]):
        with contextlib.suppress(DockerException):  # gone in the meantime
            log = docker.container.logs(container, tail=80)
            yield f"{container.name}: {container.state.status}", str(log)


def expect(predicate: Callable[[], Any], *, timeout: float, what: str | Callable[[], str]) -> None:
    """Wait for something that happens a moment later: within ``timeout`` seconds on a machine that does nothing else."""
    wait_until(predicate, timeout=SLACK * timeout, interval=0.25, describe=what)


def health_url(url: str) -> str:
    """Return the address that says whether the server is alive."""
    return url + HEALTH_PATH
