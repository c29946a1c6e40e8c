"""Starts gateways and scripted servers, and talks to them byte by byte."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
import yaml
from python_on_whales import docker

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.certs import store
from letta_stack.image import server
from letta_stack.topology.catalogue import GATEWAY, SERVER
from letta_stack.topology.runners.protocol import TLS_PORT
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PORT = 8080
OWN_ANSWER = "/nginx-health"


@dataclass(frozen=True)
class Gateway:
    """A gateway's container and where it is published."""

    container: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        options = {"timeout": 30, "allow_redirects": False} | options
        return requests.request(method, self.url + path, **options)

    def connect(self, timeout: float = 10) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; return everything until the gateway closes."""
        with self.connect() as connection:
            connection.sendall(data)
            parts = []
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    parts.append(part)
            return b"".join(parts)

    def count(self, path: str) -> int:
        """Return how often the scripted server was asked for a path."""
        return int(self.get("/counts").json().get(path, 0))

    def logged(self, key: str, value: str) -> dict[str, Any]:
        """Return the one line of the access log with this value; it is written after the answer."""

        def matching() -> list[dict[str, Any]]:
            lines = str(docker.container.logs(self.container)).splitlines()
            entries = [json.loads(line) for line in lines if line.startswith("{")]
            return [entry for entry in entries if entry[key] == value]

        harness.expect(matching, timeout=5, what=f"no line in the log with {key} {value}")
        (line,) = matching()
        return line


def options() -> dict[str, Any]:
    """Return how compose runs the gateway, in the words of `docker run`."""
    fragment = yaml.safe_load((ROOT / "compose/services/nginx.yaml").read_text(encoding="utf-8"))
    service = fragment["services"][GATEWAY.name]
    (entrypoint,) = service["entrypoint"]
    return {
        "entrypoint": entrypoint,
        "user": service["user"],
        "read_only": service["read_only"],
        "cap_drop": service["cap_drop"],
        "tmpfs": service["tmpfs"],
        "security_options": ["no-new-privileges:true"],
        "volumes": [
            (ROOT / "compose/nginx", "/etc/letta-stack/gateway", "ro"),
            (ROOT / "compose/nginx/static", "/srv/static", "ro"),
        ],
    }


@contextlib.contextmanager
def gateway(
    name: str, image: str, network: str, settings: Mapping[str, str] | None = None
) -> Iterator[Gateway]:
    """Run a gateway; return when it answers."""
    with harness.running(
        f"{name}-{secrets.token_hex(2)}",
        image=image,
        networks=[network],
        publish=[("127.0.0.1:", PORT)],
        envs={"LETTA_STACK_WATCH_SECONDS": "1"} | dict(settings or {}),
        **options(),
    ) as container:
        port = int(harness.published_url(container, PORT).rpartition(":")[2])
        one = Gateway(container, port)
        harness.expect(lambda: answers(one), timeout=10, what="the gateway does not answer")
        yield one


@contextlib.contextmanager
def secure_gateway(
    name: str, image: str, network: str, certificates: Path, *, clients: Path | None = None
) -> Iterator[tuple[Gateway, int]]:
    """Run a gateway with the certificate of a project's directory; yield it and the port that speaks TLS.

    ``clients`` is the authority of the clients' certificates, None if none are asked for.
    """
    shown = certificates / store.GATEWAY
    settings = options()
    settings["user"] = str(shown.stat().st_uid)
    settings["volumes"] = [*settings["volumes"], (shown.parent, "/etc/letta-stack/tls", "ro")]
    environment = {"LETTA_STACK_TLS": "true", "LETTA_STACK_HTTPS_PORT": "8443"}
    if clients is not None:
        settings["volumes"].append((clients, "/etc/letta-stack/client-ca.pem", "ro"))
        environment["LETTA_STACK_CLIENT_CA"] = str(clients)
    with harness.running(
        f"{name}-{secrets.token_hex(2)}",
        image=image,
        networks=[network],
        publish=[("127.0.0.1:", PORT), ("127.0.0.1:", TLS_PORT)],
        envs={"LETTA_STACK_WATCH_SECONDS": "1"} | environment,
        **settings,
    ) as container:
        ports = [
            int(harness.published_url(container, port).rpartition(":")[2])
            for port in (PORT, TLS_PORT)
        ]
        one = Gateway(container, ports[0])
        harness.expect(lambda: answers(one), timeout=10, what="the gateway does not answer")
        yield one, ports[1]


def answers(one: Gateway) -> bool:
    """Tell whether the gateway itself answers."""
    with contextlib.suppress(requests.ConnectionError):
        return one.get(OWN_ANSWER).ok
    return False


@contextlib.contextmanager
def backend(name: str, network: str, *ports: int, **more: Any) -> Iterator[str]:
    """Run a scripted server as one more replica of the server, on the server's port if none is given."""
    with harness.running(
        name,
        image=server.image_name(),
        command=["/backend.py", *map(str, ports)],
        entrypoint="/usr/bin/python3",
        user="65534:65534",
        healthcheck=False,
        networks=[network],
        network_aliases=[SERVER],
        volumes=[(ROOT / "tests/gateway/backend.py", "/backend.py", "ro")],
        **more,
    ) as container:
        yield container


def start_again(one: Gateway, settings: Mapping[str, str]) -> tuple[int, str]:
    """Run the gateway's entry point once more beside a running one; return its exit code and what it said."""
    environment = [f"--env={name}={value}" for name, value in settings.items()]
    result = process.probe(["docker", "exec", *environment, one.container, options()["entrypoint"]])
    return result.exit_code, result.stderr
