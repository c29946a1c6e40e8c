"""The way to a registry: proxies, an own CA behind one, and registries without TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.errors import RegistryUnreachable
from tests.release import observe, support
from tests.release.forward_proxy import ForwardProxy
from tests.release.secure import NAME, Secure, log_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.release.support import Builds

VERSION = "0.16.8"
NOBODY = "http://127.0.0.1:9"


def through(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Set a proxy as a shell would."""
    for name in ("http_proxy", "https_proxy"):
        for spelling in (name, name.upper()):
            monkeypatch.setenv(spelling, url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_an_own_ca_is_trusted_behind_a_proxy(
    secure: Secure,
    docker_config: Path,
    repository: str,
    builds: Builds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = builds.path(VERSION)
    log_in(docker_config, NAME)
    with ForwardProxy(secure.host) as proxy:
        through(monkeypatch, proxy.url)

        digest = support.push(NAME, repository, VERSION, layout, ca=secure.ca)

        assert digest == observe.digest_of(layout)
        assert set(proxy.tunnels) == {f"{NAME}:443"}


def test_a_registry_on_this_machine_is_asked_without_the_proxy(
    registry: str, repository: str, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = builds.path(VERSION)
    through(monkeypatch, NOBODY)

    digest = support.push(registry, repository, VERSION, layout)

    monkeypatch.undo()
    assert observe.tags_of(registry, repository)[VERSION] == digest


@pytest.fixture
def plain(registry: str) -> str:
    """Give the registry's address in the engine's network: no TLS, and not this machine's loopback."""
    address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    container = support.container_of(registry)
    ip = process.capture(["docker", "inspect", f"--format={address}", container]).strip()
    return f"{ip}:5000"


def test_a_registry_without_tls_is_named_and_allowed_by_a_flag(
    plain: str,
    repository: str,
    builds: Builds,
    docker_config: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = builds.path(VERSION)
    monkeypatch.setenv("NO_PROXY", plain.partition(":")[0])
    log_in(docker_config, plain)

    with pytest.raises(RegistryUnreachable, match=f"speaks plain HTTP.*--plain-http {plain}"):
        support.push(plain, repository, VERSION, layout)
    digest = support.push(plain, repository, VERSION, layout, plain_http=[plain])

    assert observe.tags_of(plain, repository)[VERSION] == digest
