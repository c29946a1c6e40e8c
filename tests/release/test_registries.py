"""Registries with TLS, with logins, without room, without permission: each says what to do next."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.errors import (
    RegistryDenied,
    RegistryFull,
    RegistryReadOnly,
    RegistryUnreachable,
)
from letta_stack.registry import reference
from letta_stack.registry.repository import Repository
from tests.release import observe, support
from tests.release.secure import PASSWORD, USER, Secure, log_in
from tests.release.token_server import TokenServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.release.support import Builds

VERSION = "0.16.8"

pytestmark = pytest.mark.usefixtures("docker_config")


def test_tls_and_a_stored_password(
    secure: Secure, docker_config: Path, repository: str, builds: Builds
) -> None:
    log_in(docker_config, secure.host)

    digest = support.push(secure.host, repository, VERSION, builds.path(VERSION), ca=secure.ca)

    url = f"https://{secure.host}/v2/{repository}/manifests/latest"
    answer = requests.get(
        url,
        headers={"Accept": observe.ACCEPT},
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

    assert support.push(
        secure.host, "letta/helper", VERSION, builds.path(VERSION), ca=secure.ca
    ).startswith("sha256:")


def test_an_unknown_ca_is_named_with_the_flag_that_helps(
    secure: Secure, repository: str, builds: Builds
) -> None:
    with pytest.raises(RegistryUnreachable, match="--ca"):
        support.push(secure.host, repository, VERSION, builds.path(VERSION))


@pytest.mark.parametrize("password", ["", "wrong"], ids=["none", "wrong"])
def test_a_login_that_is_missing_or_wrong_names_registry_and_command(
    password: str, secure: Secure, docker_config: Path, repository: str, builds: Builds
) -> None:
    if password:
        log_in(docker_config, secure.host, password)

    with pytest.raises(RegistryDenied) as caught:
        support.push(secure.host, repository, VERSION, builds.path(VERSION), ca=secure.ca)

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
        support.registry_container(
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
            support.push(host, repository, VERSION, builds.path(VERSION))
        log_in(docker_config, host)
        server.refuse_next = True

        assert support.push(host, repository, VERSION, builds.path(VERSION)).startswith("sha256:")

        assert server.scopes == {f"repository:{repository}:{end}" for end in ("pull", "pull,push")}


def test_a_read_only_registry_is_noticed_before_the_build(
    registry_image: str, repository: str
) -> None:
    def build(_: Path) -> None:
        pytest.fail("built for a registry that takes nothing")

    with (
        support.registry_container(
            registry_image,
            environment={"REGISTRY_STORAGE_MAINTENANCE_READONLY": "{enabled: true}"},
        ) as host,
        pytest.raises(RegistryReadOnly, match="--registry"),
    ):
        support.publisher(host, repository, VERSION).push(build, needed_bytes=0)


def test_a_full_registry_ends_without_tags_and_with_room_the_push_completes(
    registry_image: str, repository: str, builds: Builds
) -> None:
    layout = builds.path(VERSION, secrets.token_bytes(2_000_000))
    filler = "/var/lib/registry/filler"
    with support.registry_container(registry_image, "--tmpfs=/var/lib/registry:size=5m") as host:
        support.execute(host, "fallocate", "--length", "4M", filler)
        with pytest.raises(RegistryFull, match="no room left"):
            support.push(host, repository, VERSION, layout)

        assert observe.tags_of(host, repository) == {}
        support.execute(host, "rm", filler)
        digest = support.push(host, repository, VERSION, layout)
        assert observe.tags_of(host, repository)["latest"] == digest
        assert not observe.defects(host, repository)


def test_nobody_listens() -> None:
    with (
        Repository(
            reference.Target("127.0.0.1:9", "letta/letta"), policy=support.QUICK
        ) as registry,
        pytest.raises(RegistryUnreachable, match="Connection refused"),
    ):
        registry.tags()
