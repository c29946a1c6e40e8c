"""What a release signs, the real cosign verifies; what the real cosign signs, a deployment verifies, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.errors import (
    BadSignKey,
    CommandFailed,
    NotSigned,
    SignedByOther,
    SignsOther,
)
from letta_stack.registry import signatures
from letta_stack.registry.reference import Target
from letta_stack.registry.repository import Repository
from letta_stack.release import sign
from letta_stack.release.sign import Signer
from letta_stack.topology import signed
from letta_stack.topology.project import Project
from tests.release import cosign, observe, support
from tests.release import secure as logins
from tests.release.cosign import Cosign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.release.secure import Secure
    from tests.release.support import Builds

VERSION = "0.16.8"
OFFLINE = ("--insecure-ignore-tlog", "--allow-http-registry")
NO_LOG = "--tlog-upload=false"
PROJECT = "letta-release-signed"


@dataclass(frozen=True)
class Place:
    """A repository that nobody else uses, and the tiny image for it."""

    host: str
    repository: str
    builds: Builds
    ca: Path | None = None

    def push(self, payload: bytes = b"one\n", signer: Signer | None = None) -> str:
        """Push as a release does; return the digest."""
        layout = self.builds.path(VERSION, payload)
        one = support.publisher(self.host, self.repository, VERSION, ca=self.ca)
        return replace(one, signer=signer).push(
            lambda path: support.copy(layout, path), needed_bytes=1
        )

    def named(self, digest: str) -> str:
        """Name an image by its digest."""
        return f"{self.host}/{self.repository}@{digest}"

    def opened(self) -> Repository:
        """Open it with the client that pushes."""
        return Repository(Target(self.host, self.repository), ca=self.ca)


@pytest.fixture
def place(registry: str, repository: str, builds: Builds) -> Place:
    return Place(registry, repository, builds)


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    return Cosign(cosign.second(), tmp_path_factory.mktemp("cosign"))


@pytest.fixture(scope="module")
def key(tool: Cosign) -> Path:
    return tool.key("release")


@pytest.fixture(scope="module")
def public(key: Path) -> signatures.Key:
    return signatures.Key.of(key.with_suffix(".pub"))


@pytest.fixture
def password(tmp_path: Path) -> dict[str, str]:
    """Write the password of the keys into a file; return the variable that names it."""
    path = tmp_path / "password"
    path.write_text(f"{cosign.PASSWORD}\n", encoding="utf-8")
    return {sign.PASSWORD_VARIABLE: str(path)}


@pytest.fixture
def signer(key: Path, password: dict[str, str]) -> Signer:
    return Signer.of(str(key), password, images="auto", ca=support.ca_file())


@pytest.fixture
def pulled(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give an image that was pushed without a signature and pulled again, for a project without a past."""
    monkeypatch.setattr(signed, "STATE", tmp_path)
    place.push()
    name = f"{place.host}/{place.repository}:{VERSION}"
    process.capture(["docker", "pull", "--quiet", name])
    yield name
    process.probe(["docker", "image", "rm", name])


def test_what_a_push_signs_cosign_verifies_and_a_repetition_leaves(
    place: Place, tool: Cosign, signer: Signer
) -> None:
    digest = place.push(signer=signer)
    tags = observe.tags_of(place.host, place.repository)
    verify = ["verify", "--key=release.pub", "--output=json", *OFFLINE, place.named(digest)]
    said = json.loads(tool(*verify))

    assert tags[signatures.tag(digest)]
    assert said[0]["critical"]["image"]["docker-manifest-digest"] == digest
    assert place.push(signer=signer) == digest
    assert observe.tags_of(place.host, place.repository) == tags
    assert observe.defects(place.host, place.repository) == []
    tool.key("stranger")
    with pytest.raises(CommandFailed):
        tool("verify", "--key=stranger.pub", *OFFLINE, place.named(digest))


def test_a_second_key_signs_beside_the_first(place: Place, tool: Cosign, signer: Signer) -> None:
    digest = place.push()
    tool.key("second")
    tool.sign("second", place.named(digest), NO_LOG)

    with place.opened() as repository:
        assert signer.sign(repository, digest)

    for name in ("release.pub", "second.pub"):
        tool("verify", f"--key={name}", *OFFLINE, place.named(digest))


def test_a_signature_goes_through_tls_with_an_own_authority_and_a_login(
    secure: Secure, place: Place, docker_config: Path, signer: Signer
) -> None:
    logins.log_in(docker_config, secure.host)
    there = replace(place, host=secure.host, ca=secure.ca)

    digest = there.push(signer=signer)

    with there.opened() as repository:
        signatures.verify(repository, digest, signer.public)


def test_a_deployment_takes_what_cosign_signed_and_asks_once(
    pulled: str, tool: Cosign, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(signed.VARIABLE, str(key.with_suffix(".pub")))
    project = Project.of("prod", project=PROJECT)
    with pytest.raises(NotSigned, match="has no signature; have it signed"):
        signed.check(project, pulled)
    digest, _ = signed.names_of(pulled)
    tool.sign("release", f"{pulled.rpartition(':')[0]}@{digest}", NO_LOG)

    signed.check(project, pulled)
    monkeypatch.setattr(signed, "verify", lambda *_: pytest.fail("asked again"))
    signed.check(project, pulled)


def test_what_a_stranger_signed_is_refused(place: Place, tool: Cosign, key: Path) -> None:
    tool.key("other")
    digest = place.push()
    tool.sign("release", place.named(digest), NO_LOG)

    with place.opened() as repository:
        signatures.verify(repository, digest, signatures.Key.of(key.with_suffix(".pub")))
        with pytest.raises(SignedByOther, match="has 1 signatures and none by"):
            signatures.verify(repository, digest, signatures.Key.of(tool.directory / "other.pub"))


def test_a_signature_that_was_copied_or_changed_is_refused(
    place: Place, tool: Cosign, public: signatures.Key
) -> None:
    digest = place.push()
    tool.sign("release", place.named(digest), NO_LOG)
    copied = replace(place, repository=f"{place.repository}-copied")
    changed = replace(place, repository=f"{place.repository}-changed")
    other, third = copied.push(b"two\n"), changed.push(b"three\n")

    with place.opened() as there, copied.opened() as repository:
        manifest = there.manifest(signatures.tag(digest))
        for blob in manifest.blobs:
            repository.put_blob(blob, there)
        repository.put_manifest(signatures.tag(other), manifest)
        with pytest.raises(SignsOther, match=digest):
            signatures.verify(repository, other, public)
    value = manifest.document["layers"][0]["annotations"][signatures.SIGNATURE]
    with changed.opened() as repository:
        sign.attach(repository, third, signatures.payload(str(repository.target), third), value)
        with pytest.raises(SignedByOther, match="has 1 signatures and none by"):
            signatures.verify(repository, third, public)


@pytest.mark.long
def test_a_bundle_of_cosign_3_is_a_signature(
    place: Place, tool: Cosign, public: signatures.Key
) -> None:
    newer = Cosign(cosign.third(), tool.directory)
    newer("signing-config", "create", "--out=config.json")  # names no service
    digest = place.push()
    newer.sign("release", place.named(digest), "--signing-config=config.json")

    with place.opened() as repository:
        assert repository.digest(signatures.tag(digest)) is None, "it writes the older form"
        signatures.verify(repository, digest, public)


@pytest.mark.long
def test_cosign_3_verifies_what_a_push_signs(place: Place, tool: Cosign, signer: Signer) -> None:
    newer = Cosign(cosign.third(), tool.directory)
    digest = place.push(signer=signer)

    newer("verify", "--key=release.pub", *OFFLINE, place.named(digest))


def test_a_wrong_password_is_one_line_before_anything_is_built(
    key: Path, password: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("wrong", encoding="utf-8")

    with pytest.raises(BadSignKey, match=sign.PASSWORD_VARIABLE) as caught:
        Signer.of(str(key), password, images="auto", ca=support.ca_file())

    assert "\n" not in str(caught.value)
