"""A registry with TLS and passwords, and what its clients need."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import process
from tests.release import support

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "letta", "not-a-secret"
HTPASSWD = f"{USER}:$2b$05$R4fU1XMqSiY48tdknWIhIueiyvn61uQqXAx/6JwDioo4hXyky8sUW\n"
NAME = "registry.test"
"""A name in the certificate that only a proxy can resolve."""


@dataclass(frozen=True)
class Secure:
    """Where the registry is, and the CA that its clients need."""

    host: str
    ca: Path


def log_in(config: Path, host: str, password: str = PASSWORD) -> None:
    """Store credentials as `docker login` does."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    config.write_text(json.dumps({"auths": {host: {"auth": auth}}}), encoding="utf-8")


def make_certificate(registry_image: str, directory: Path) -> Path:
    """Make a certificate for the loopback address and ``NAME`` that nobody's trust store knows."""
    names = f"subjectAltName=IP:127.0.0.1,DNS:{NAME}"
    process.run(
        [
            *("docker", "run", "--rm", f"--volume={directory}:/out", "--entrypoint=openssl"),
            *(registry_image, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", "/out/key.pem", "-out", "/out/cert.pem", "-subj", "/CN=test-registry"),
            *("-addext", names, "-addext", "basicConstraints=CA:TRUE"),
        ]
    )
    return directory / "cert.pem"


@contextlib.contextmanager
def running(registry_image: str, certificate: Path, directory: Path) -> Iterator[Secure]:
    """Run the registry."""
    (directory / "htpasswd").write_text(HTPASSWD, encoding="utf-8")
    with support.registry_container(
        registry_image,
        f"--volume={certificate.parent}:/certificate:ro",
        f"--volume={directory}:/auth:ro",
        environment={
            "REGISTRY_HTTP_TLS_CERTIFICATE": "/certificate/cert.pem",
            "REGISTRY_HTTP_TLS_KEY": "/certificate/key.pem",
            "REGISTRY_AUTH": "htpasswd",
            "REGISTRY_AUTH_HTPASSWD_REALM": "test",
            "REGISTRY_AUTH_HTPASSWD_PATH": "/auth/htpasswd",
        },
        ca=certificate,
    ) as host:
        yield Secure(host, certificate)
