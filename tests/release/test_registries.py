"""Registries with TLS, with logins, without room, without permission: each says what to do next."""

from __future__ import annotations

import base64
import functools
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.base import process
from letta_stack.errors import (
    LettaStackError,
    OlderThanLatest,
    PlatformMissing,
    RegistryDenied,
    RegistryFull,
    RegistryReadOnly,
    RegistryUnreachable,
    TagTaken,
)
from letta_stack.registry import reference
from letta_stack.registry.oci import Layout
from letta_stack.registry.repository import Registry
from letta_stack.release.publisher import send
from letta_stack.release.tags import Channel
from tests.release import lab, tiny
from tests.release.fault_proxy import FaultProxy
from tests.release.token_server import TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from letta_stack.release.publisher import Wanted
    from tests.release.lab import Builds

USER, PASSWORD = "letta", "not-a-secret"
HTPASSWD = f"{USER}:$2b$05$R4fU1XMqSiY48tdknWIhIueiyvn61uQqXAx/6JwDioo4hXyky8sUW\n"
VERSION = "0.16.8"


@dataclass(frozen=True)
class Secure:
    """A registry with TLS and passwords, and the CA that its clients need."""

    host: str
    ca: Path


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a docker configuration of its own, empty at first."""
    directory = tmp_path / "docker"
    directory.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    return directory / "config.json"


def log_in(config: Path, host: str, password: str = PASSWORD) -> None:
    """Store credentials as `docker login` does."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    config.write_text(json.dumps({"auths": {host: {"auth": auth}}}), encoding="utf-8")


@pytest.fixture(scope="session")
def certificate(registry_image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for the loopback address that nobody's trust store knows."""
    directory = tmp_path_factory.mktemp("certificate")
    process.run(
        [
            *("docker", "run", "--rm", f"--volume={directory}:/out", "--entrypoint=openssl"),
            *(registry_image, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", "/out/key.pem", "-out", "/out/cert.pem", "-subj", "/CN=test-registry"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:TRUE"),
        ]
    )
    return directory / "cert.pem"


@pytest.fixture(scope="session")
def secure(
    registry_image: str, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secure]:
    """Run a registry with TLS and passwords."""
    directory = tmp_path_factory.mktemp("htpasswd")
    (directory / "htpasswd").write_text(HTPASSWD, encoding="utf-8")
    with lab.registry_container(
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


def test_tls_and_a_stored_password(
    secure: Secure, docker_config: Path, repository: str, builds: Builds
) -> None:
    log_in(docker_config, secure.host)

    digest = lab.push(secure.host, repository, VERSION, builds.path(VERSION), ca=secure.ca)

    url = f"https://{secure.host}/v2/{repository}/manifests/latest"
    answer = requests.get(
        url,
        headers={"Accept": lab.ACCEPT},
        auth=(USER, PASSWORD),
        verify=str(secure.ca),
        timeout=10,
    )
    assert answer.headers["Docker-Content-Digest"] == digest


def test_a_credential_helper_is_asked(
    secure: Secure,
    docker_config: Path,
    builds: Builds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = json.dumps({"Username": USER, "Secret": PASSWORD})
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        f"#!/bin/sh\n[ \"$1 $(cat)\" = 'get {secure.host}' ] && echo '{answer}'\n",
        encoding="utf-8",
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    docker_config.write_text(json.dumps({"credHelpers": {secure.host: "test"}}), encoding="utf-8")

    assert lab.push(
        secure.host, "letta/helper", VERSION, builds.path(VERSION), ca=secure.ca
    ).startswith("sha256:")


def test_an_unknown_ca_is_named_with_the_flag_that_helps(
    secure: Secure, repository: str, builds: Builds
) -> None:
    with pytest.raises(RegistryUnreachable, match="--ca"):
        lab.push(secure.host, repository, VERSION, builds.path(VERSION))


@pytest.mark.parametrize("password", ["", "wrong"], ids=["none", "wrong"])
def test_a_login_that_is_missing_or_wrong_names_registry_and_command(
    password: str, secure: Secure, docker_config: Path, repository: str, builds: Builds
) -> None:
    if password:
        log_in(docker_config, secure.host, password)

    with pytest.raises(RegistryDenied) as caught:
        lab.push(secure.host, repository, VERSION, builds.path(VERSION), ca=secure.ca)

    assert f"docker login {secure.host}" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_tokens_are_fetched_with_the_stored_password_and_again_after_a_429(
    registry_image: str,
    certificate: Path,
    docker_config: Path,
    repository: str,
    builds: Builds,
) -> None:
    with (
        TokenServer(
            USER, PASSWORD, key=certificate.parent / "key.pem", chain=certificate
        ) as server,
        lab.registry_container(
            registry_image,
            f"--volume={certificate.parent}:/certificate:ro",
            environment={
                "REGISTRY_AUTH": "token",
                "REGISTRY_AUTH_TOKEN_REALM": server.realm,
                "REGISTRY_AUTH_TOKEN_SERVICE": server.service,
                "REGISTRY_AUTH_TOKEN_ISSUER": server.issuer,
                "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE": "/certificate/cert.pem",
            },
            accept_status=requests.codes.unauthorized,
        ) as host,
    ):
        with pytest.raises(RegistryDenied, match="docker login"):
            lab.push(host, repository, VERSION, builds.path(VERSION))
        log_in(docker_config, host)
        server.refuse_next = True

        assert lab.push(host, repository, VERSION, builds.path(VERSION)).startswith("sha256:")

        assert server.scopes == {f"repository:{repository}:{end}" for end in ("pull", "pull,push")}


def test_a_read_only_registry_is_noticed_before_the_build(
    registry_image: str, repository: str
) -> None:
    def build(_: Path) -> None:
        pytest.fail("built for a registry that takes nothing")

    with (
        lab.registry_container(
            registry_image,
            environment={"REGISTRY_STORAGE_MAINTENANCE_READONLY": "{enabled: true}"},
        ) as host,
        pytest.raises(RegistryReadOnly, match="--registry"),
    ):
        lab.publisher(host, repository, VERSION).push(build, needed_bytes=0)


def test_a_full_registry_ends_without_tags_and_with_room_the_push_completes(
    registry_image: str, repository: str, builds: Builds
) -> None:
    layout = builds.path(VERSION, secrets.token_bytes(2_000_000))
    filler = "/var/lib/registry/filler"
    with lab.registry_container(registry_image, "--tmpfs=/var/lib/registry:size=5m") as host:
        lab.execute(host, "fallocate", "--length", "4M", filler)
        with pytest.raises(RegistryFull, match="no room left"):
            lab.push(host, repository, VERSION, layout)

        assert lab.tags_of(host, repository) == {}
        lab.execute(host, "rm", filler)
        digest = lab.push(host, repository, VERSION, layout)
        assert lab.tags_of(host, repository)["latest"] == digest
        assert not lab.defects(host, repository)


def test_nobody_listens() -> None:
    with (
        Registry(reference.Target("127.0.0.1:9", "letta/letta"), patience=lab.QUICK) as registry,
        pytest.raises(RegistryUnreachable, match="Connection refused"),
    ):
        registry.tags()


def test_an_unchanged_push_moves_no_blob(registry: str, repository: str, builds: Builds) -> None:
    with FaultProxy(registry) as proxy:
        first = lab.push(proxy.host, repository, VERSION, builds.path(VERSION))
        moved = proxy.uploaded_bytes
        proxy.reset()

        second = lab.push(proxy.host, repository, VERSION, builds.path(VERSION))

        assert first == second
        assert moved > 0
        assert proxy.uploaded_bytes == 0
        assert {request.method for request in proxy.seen} == {"GET", "HEAD", "POST", "DELETE"}


def test_an_immutable_tag_is_never_overwritten(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = lab.push(registry, repository, VERSION, builds.path(VERSION))

    with pytest.raises(TagTaken, match="--revision"):
        lab.push(registry, repository, VERSION, builds.path(VERSION, b"two\n"))

    assert lab.tags_of(registry, repository) == dict.fromkeys((VERSION, "0.16", "latest"), digest)


def test_a_rebuilt_image_is_a_revision_and_moves_the_floating_tags(
    registry: str, repository: str, builds: Builds
) -> None:
    first = lab.push(registry, repository, VERSION, builds.path(VERSION))

    second = lab.push(registry, repository, f"{VERSION}-r2", builds.path(f"{VERSION}-r2"))

    expected = {VERSION: first, f"{VERSION}-r2": second, "0.16": second, "latest": second}
    assert lab.tags_of(registry, repository) == expected


def test_an_older_version_needs_permission_and_moves_only_its_series(
    registry: str, repository: str, builds: Builds
) -> None:
    new = lab.push(registry, repository, VERSION, builds.path(VERSION))

    with pytest.raises(OlderThanLatest, match="--allow-older"):
        lab.push(registry, repository, "0.15.1", builds.path("0.15.1"))
    wish = lab.wanted("0.15.1", allow_older=True)
    old = lab.push(registry, repository, "0.15.1", builds.path("0.15.1"), wish=wish)

    expected = {VERSION: new, "0.16": new, "latest": new, "0.15.1": old, "0.15": old}
    assert lab.tags_of(registry, repository) == expected


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (Channel.NIGHTLY, {"nightly-20261124", "nightly"}),
        (Channel.COMMIT, {f"sha-{tiny.COMMIT[:12]}"}),
    ],
)
def test_other_channels_touch_no_release_tag(
    channel: Channel, expected: set[str], registry: str, repository: str, builds: Builds
) -> None:
    wish = lab.wanted(VERSION, channel=channel)

    digest = lab.push(registry, repository, VERSION, builds.path(VERSION), wish=wish)

    assert lab.tags_of(registry, repository) == dict.fromkeys(expected, digest)


def test_a_dry_run_writes_nothing_and_begins_no_upload(registry: str, repository: str) -> None:
    lines: list[str] = []
    with FaultProxy(registry) as proxy:
        lab.publisher(proxy.host, repository, VERSION, say=lines.append).preview()

        assert {request.method for request in proxy.seen} == {"GET", "HEAD"}
    assert lab.tags_of(registry, repository) == {}
    assert [line.split()[0] for line in lines[1:]] == [VERSION, "0.16", "latest"]


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (lab.wanted(VERSION, platforms=("linux/amd64",)), PlatformMissing),
        (lab.wanted(VERSION, platforms=(*tiny.PLATFORMS, "linux/s390x")), PlatformMissing),
        (lab.wanted("0.16.9"), LettaStackError),
    ],
    ids=["a platform too many", "a platform too few", "labels of another version"],
)
def test_an_image_that_is_not_what_was_asked_for_is_not_pushed(
    wish: Wanted, error: type[LettaStackError], registry: str, repository: str, builds: Builds
) -> None:
    with pytest.raises(error):
        lab.push(registry, repository, VERSION, builds.path(VERSION), wish=wish)

    assert lab.tags_of(registry, repository) == {}


def test_platforms_that_were_built_apart_become_one_release(
    registry: str, repository: str, tmp_path: Path
) -> None:
    context = tiny.write_context(tmp_path / "context")
    digests: list[str] = []
    for platform in tiny.PLATFORMS:
        layout = tmp_path / f"{platform.replace('/', '-')}.tar"
        tiny.build(context, layout, version=VERSION, platforms=(platform,))
        one = lab.publisher(
            registry, repository, VERSION, wish=lab.wanted(VERSION, platforms=(platform,))
        )
        digests.append(one.upload(functools.partial(lab.copy, layout), needed_bytes=0))
    assert lab.tags_of(registry, repository) == {}

    (target,) = reference.parse_targets([registry], [repository])
    with Registry(target) as source:
        digest = lab.publisher(registry, repository, VERSION).promote(source, digests)

    assert lab.tags_of(registry, repository) == dict.fromkeys((VERSION, "0.16", "latest"), digest)
    assert not lab.defects(registry, repository)


def test_a_release_is_copied_to_another_repository_by_its_digest(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = lab.push(registry, repository, VERSION, builds.path(VERSION))

    (target,) = reference.parse_targets([registry], [repository])
    with Registry(target) as source:
        copied = lab.publisher(registry, f"{repository}-copy", VERSION).promote(source, [digest])

    assert copied == digest
    assert not lab.defects(registry, f"{repository}-copy")
    assert lab.tags_of(registry, f"{repository}-copy")["latest"] == digest


def test_a_release_that_was_interrupted_before_its_floating_tags_is_completed_without_a_build(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = lab.push(registry, repository, VERSION, builds.path(VERSION))
    (target,) = reference.parse_targets([registry], [f"{repository}-interrupted"])
    with Registry(target) as interrupted, Layout(builds.path(VERSION)) as layout:
        send(interrupted, layout.image)
        interrupted.put_manifest(VERSION, layout.image.root)
        with pytest.raises(TagTaken, match=f"--digest {digest}"):
            lab.push(registry, target.repository, VERSION, builds.path(VERSION, b"later\n"))

        lab.publisher(registry, target.repository, VERSION).promote(interrupted, [digest])

    expected = dict.fromkeys((VERSION, "0.16", "latest"), digest)
    assert lab.tags_of(registry, target.repository) == expected
