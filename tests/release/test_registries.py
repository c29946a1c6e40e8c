"""Registries with TLS, with logins, without room, without permission: each says what to do next."""

from __future__ import annotations

import functools
import json
import secrets
from typing import TYPE_CHECKING

import pytest
import requests

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
from letta_stack.registry.layout import Layout
from letta_stack.registry.repository import Repository
from letta_stack.release.publisher import send
from letta_stack.release.tags import Channel
from tests.release import support, tiny
from tests.release.fault_proxy import FaultProxy
from tests.release.secure import PASSWORD, USER, Secure, log_in
from tests.release.token_server import TokenServer

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.release.plan import Wanted
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
        headers={"Accept": support.ACCEPT},
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

        assert support.tags_of(host, repository) == {}
        support.execute(host, "rm", filler)
        digest = support.push(host, repository, VERSION, layout)
        assert support.tags_of(host, repository)["latest"] == digest
        assert not support.defects(host, repository)


def test_nobody_listens() -> None:
    with (
        Repository(
            reference.Target("127.0.0.1:9", "letta/letta"), policy=support.QUICK
        ) as registry,
        pytest.raises(RegistryUnreachable, match="Connection refused"),
    ):
        registry.tags()


def test_an_unchanged_push_moves_no_blob(registry: str, repository: str, builds: Builds) -> None:
    with FaultProxy(registry) as proxy:
        first = support.push(proxy.host, repository, VERSION, builds.path(VERSION))
        moved = proxy.uploaded_bytes
        proxy.reset()

        second = support.push(proxy.host, repository, VERSION, builds.path(VERSION))

        assert first == second
        assert moved > 0
        assert proxy.uploaded_bytes == 0
        assert {request.method for request in proxy.seen} == {"GET", "HEAD", "POST", "DELETE"}


def test_an_immutable_tag_is_never_overwritten(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = support.push(registry, repository, VERSION, builds.path(VERSION))

    with pytest.raises(TagTaken, match="--revision"):
        support.push(registry, repository, VERSION, builds.path(VERSION, b"two\n"))

    assert support.tags_of(registry, repository) == dict.fromkeys(
        (VERSION, "0.16", "latest"), digest
    )


def test_a_rebuilt_image_is_a_revision_and_moves_the_floating_tags(
    registry: str, repository: str, builds: Builds
) -> None:
    first = support.push(registry, repository, VERSION, builds.path(VERSION))

    second = support.push(registry, repository, f"{VERSION}-r2", builds.path(f"{VERSION}-r2"))

    expected = {VERSION: first, f"{VERSION}-r2": second, "0.16": second, "latest": second}
    assert support.tags_of(registry, repository) == expected


def test_an_older_version_needs_permission_and_moves_only_its_series(
    registry: str, repository: str, builds: Builds
) -> None:
    new = support.push(registry, repository, VERSION, builds.path(VERSION))

    with pytest.raises(OlderThanLatest, match="--allow-older"):
        support.push(registry, repository, "0.15.1", builds.path("0.15.1"))
    wanted = support.wanted_of("0.15.1", allow_older=True)
    old = support.push(registry, repository, "0.15.1", builds.path("0.15.1"), wanted=wanted)

    expected = {VERSION: new, "0.16": new, "latest": new, "0.15.1": old, "0.15": old}
    assert support.tags_of(registry, repository) == expected


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
    wanted = support.wanted_of(VERSION, channel=channel)

    digest = support.push(registry, repository, VERSION, builds.path(VERSION), wanted=wanted)

    assert support.tags_of(registry, repository) == dict.fromkeys(expected, digest)


def test_a_dry_run_writes_nothing_and_begins_no_upload(registry: str, repository: str) -> None:
    lines: list[str] = []
    with FaultProxy(registry) as proxy:
        support.publisher(proxy.host, repository, VERSION, say=lines.append).preview()

        assert {request.method for request in proxy.seen} == {"GET", "HEAD"}
    assert support.tags_of(registry, repository) == {}
    assert [line.split()[0] for line in lines[1:]] == [VERSION, "0.16", "latest"]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (support.wanted_of(VERSION, platforms=("linux/amd64",)), PlatformMissing),
        (support.wanted_of(VERSION, platforms=(*tiny.PLATFORMS, "linux/s390x")), PlatformMissing),
        (support.wanted_of("0.16.9"), LettaStackError),
    ],
    ids=["a platform too many", "a platform too few", "labels of another version"],
)
def test_an_image_that_is_not_what_was_asked_for_is_not_pushed(
    wanted: Wanted, error: type[LettaStackError], registry: str, repository: str, builds: Builds
) -> None:
    with pytest.raises(error):
        support.push(registry, repository, VERSION, builds.path(VERSION), wanted=wanted)

    assert support.tags_of(registry, repository) == {}


def test_platforms_that_were_built_apart_become_one_release(
    registry: str, repository: str, tmp_path: Path
) -> None:
    context = tiny.write_context(tmp_path / "context")
    digests: list[str] = []
    for platform in tiny.PLATFORMS:
        layout = tmp_path / f"{platform.replace('/', '-')}.tar"
        tiny.build(context, layout, version=VERSION, platforms=(platform,))
        one = support.publisher(
            registry, repository, VERSION, wanted=support.wanted_of(VERSION, platforms=(platform,))
        )
        digests.append(one.upload(functools.partial(support.copy, layout), needed_bytes=0))
    assert support.tags_of(registry, repository) == {}

    (target,) = reference.parse_targets([registry], [repository])
    with Repository(target) as source:
        digest = support.publisher(registry, repository, VERSION).promote(source, digests)

    assert support.tags_of(registry, repository) == dict.fromkeys(
        (VERSION, "0.16", "latest"), digest
    )
    assert not support.defects(registry, repository)


def test_a_release_is_copied_to_another_repository_by_its_digest(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = support.push(registry, repository, VERSION, builds.path(VERSION))

    (target,) = reference.parse_targets([registry], [repository])
    with Repository(target) as source:
        copied = support.publisher(registry, f"{repository}-copy", VERSION).promote(
            source, [digest]
        )

    assert copied == digest
    assert not support.defects(registry, f"{repository}-copy")
    assert support.tags_of(registry, f"{repository}-copy")["latest"] == digest


def test_a_release_that_was_interrupted_before_its_floating_tags_is_completed_without_a_build(
    registry: str, repository: str, builds: Builds
) -> None:
    digest = support.push(registry, repository, VERSION, builds.path(VERSION))
    (target,) = reference.parse_targets([registry], [f"{repository}-interrupted"])
    with Repository(target) as interrupted, Layout(builds.path(VERSION)) as layout:
        send(interrupted, layout.image)
        interrupted.put_manifest(VERSION, layout.image.root)
        with pytest.raises(TagTaken, match=f"--digest {digest}"):
            support.push(registry, target.repository, VERSION, builds.path(VERSION, b"later\n"))

        support.publisher(registry, target.repository, VERSION).promote(interrupted, [digest])

    expected = dict.fromkeys((VERSION, "0.16", "latest"), digest)
    assert support.tags_of(registry, target.repository) == expected
