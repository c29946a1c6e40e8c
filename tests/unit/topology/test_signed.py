"""Which images a project may run: what is asked about an image of the engine, where, and how often."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from letta_stack.base import process
from letta_stack.errors import BadVerifyKey, NotSigned, RegistryUnreachable, SignedByOther
from letta_stack.registry import signatures
from letta_stack.topology import signed
from letta_stack.topology.project import Project

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from letta_stack.registry.repository import Repository

DIGEST = "sha256:" + "a" * 64
STALE = "sha256:" + "b" * 64


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed, "STATE", tmp_path / "state")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose key is there."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    path = tmp_path / "cosign.pub"
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return Project.of("prod", project="p").with_variables({signed.VARIABLE: str(path)})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand for a registry in which every image is signed; return where was looked."""
    places: list[str] = []
    monkeypatch.setattr(
        signatures, "verify", lambda repository, *_: places.append(str(repository.target))
    )
    return places


def engine(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Stand for an engine that has one image under names, and an older one under another."""
    digests = [*(f"{name}@{DIGEST}" for name in names), f"old.example/letta@{STALE}"]
    facts = json.dumps([{"Id": DIGEST, "RepoDigests": digests}])
    registries = json.dumps({"docker.io": {"Secure": True}, "b.example:5000": {"Secure": False}})

    def capture(argv: Sequence[str]) -> str:
        return registries if argv[1] == "info" else facts

    monkeypatch.setattr(process, "capture", capture)


def test_without_a_key_nothing_is_asked(asked: list[str]) -> None:
    signed.check(Project.of("prod", project="p"), "a.example/me/letta:1")

    assert asked == []


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("a.example/me/letta:1", ["a.example/me/letta"]),
        (f"b.example:5000/letta@{DIGEST}", ["b.example:5000/letta"]),
        ("letta-stack/deployed:aaaaaaaaaaaaaaaa", ["a.example/me/letta"]),
    ],
)
def test_the_registry_that_an_image_came_from_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    project: Project,
    asked: list[str],
    image: str,
    expected: list[str],
) -> None:
    engine(monkeypatch, "letta-stack/deployed", "a.example/me/letta", "b.example:5000/letta")

    signed.check(project, image)

    assert asked == expected


def test_every_registry_of_a_deployed_image_is_asked_until_one_has_a_signature(
    monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    engine(monkeypatch, "a.example/me/letta", "b.example:5000/letta")
    places: list[str] = []

    def verify(repository: Repository, *_: object) -> None:
        places.append(str(repository.target))
        if len(places) == 1:
            raise NotSigned("there is none")

    monkeypatch.setattr(signatures, "verify", verify)
    signed.check(project, "letta-stack/deployed:aaaaaaaaaaaaaaaa")

    assert places == ["a.example/me/letta", "b.example:5000/letta"]


def test_what_was_proved_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, project: Project, asked: list[str], tmp_path: Path
) -> None:
    engine(monkeypatch, "a.example/me/letta")
    signed.check(project, "a.example/me/letta:1")
    signed.check(project, "letta-stack/deployed:aaaaaaaaaaaaaaaa")

    assert asked == ["a.example/me/letta"]
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "cosign.pub").write_bytes(pem)

    signed.check(project, "a.example/me/letta:1")

    assert asked == ["a.example/me/letta"] * 2


@pytest.mark.parametrize("text", ["[", "1", ""])
def test_a_list_of_proofs_that_cannot_be_read_proves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    project: Project,
    asked: list[str],
    tmp_path: Path,
    text: str,
) -> None:
    engine(monkeypatch, "a.example/me/letta")
    path = tmp_path / "state" / "p" / "signed.json"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")

    signed.check(project, "a.example/me/letta:1")

    assert asked == ["a.example/me/letta"]
    assert DIGEST in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("error", [NotSigned, SignedByOther, RegistryUnreachable])
def test_what_was_refused_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, project: Project, error: type[Exception], tmp_path: Path
) -> None:
    engine(monkeypatch, "a.example/me/letta")

    def verify(*_: object) -> None:
        raise error("no")

    monkeypatch.setattr(signatures, "verify", verify)
    for _ in range(2):
        with pytest.raises(error):
            signed.check(project, "a.example/me/letta:1")

    assert not (tmp_path / "state").exists()


def test_an_image_that_was_built_here_is_refused(
    monkeypatch: pytest.MonkeyPatch, project: Project, asked: list[str]
) -> None:
    engine(monkeypatch, "letta-stack/letta", "letta-stack/deployed")

    with pytest.raises(NotSigned, match="was built here, so nobody signed it"):
        signed.check(project, "letta-stack/letta:0.16.8")

    assert asked == []


def test_a_key_that_is_none_is_found_before_the_engine_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "capture", lambda _: pytest.fail("asked"))
    (tmp_path / "cosign.pub").write_text("ssh-ed25519 AAAA", encoding="utf-8")
    variables = {signed.VARIABLE: str(tmp_path / "cosign.pub")}

    with pytest.raises(BadVerifyKey, match="no public key of ECDSA or RSA"):
        signed.check(Project.of("prod", project="p").with_variables(variables), "a.example/letta:1")
