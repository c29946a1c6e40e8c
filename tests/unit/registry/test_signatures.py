"""Which signatures count: by the key that was given, of the image that was asked for, in either form of cosign."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from letta_stack.errors import (
    BadVerifyKey,
    NotSigned,
    SignedByOther,
    SignsOther,
)
from letta_stack.registry import credentials, oci, signatures
from letta_stack.registry.reference import Target
from letta_stack.registry.repository import Repository
from letta_stack.release import sign
from tests.support.memory_registry import MemoryRegistry, Stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

TARGET = Target("a.example", "letta/letta")
IMAGE = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
SIMPLE = signatures.payload("a.example/letta/letta", IMAGE)
BUNDLE_TYPE = f"{signatures.BUNDLE}v0.3+json"
KEY, STRANGER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


def public(key: Private) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(key: Private, content: bytes) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        value = key.sign(content, ec.ECDSA(SHA256()))
    else:
        assert isinstance(key, rsa.RSAPrivateKey)
        value = key.sign(content, padding.PKCS1v15(), SHA256())
    return base64.b64encode(value).decode()


def bundle(key: Private, digest: str, predicate: str = signatures.PREDICATE) -> dict[str, Any]:
    """Return a bundle as cosign 3 writes it."""
    statement = {
        "subject": [{"digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": predicate,
    }
    content = json.dumps(statement).encode()
    head = f"DSSEv1 {len(signatures.STATEMENT)} {signatures.STATEMENT} {len(content)} "
    envelope = {
        "payload": base64.b64encode(content).decode(),
        "payloadType": signatures.STATEMENT,
        "signatures": [{"sig": signed(key, head.encode() + content)}],
    }
    return {"mediaType": BUNDLE_TYPE, "dsseEnvelope": envelope}


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Stored:
    registry = MemoryRegistry()
    monkeypatch.setattr(credentials, "find", lambda _: None)
    monkeypatch.setattr(requests.Session, "request", registry.request)
    return registry.stored.setdefault(str(TARGET), Stored())


@pytest.fixture
def repository(stored: Stored) -> Iterator[Repository]:
    assert not stored.tags
    with Repository(TARGET) as one:
        yield one


@pytest.fixture
def key() -> signatures.Key:
    return signatures.Key.read(public(KEY), "cosign.pub")


def refer(stored: Stored, content: dict[str, Any], *, media_type: str = BUNDLE_TYPE) -> None:
    """Let a bundle refer to the image: by the registry's own list, or, where it has none, by the tag."""
    text = json.dumps(content).encode()
    layer = oci.Descriptor(media_type, oci.sha256(text), len(text)).to_json()
    manifest = oci.Manifest(json.dumps({"layers": [layer]}).encode(), oci.IMAGE_TYPES[0])
    index = oci.index_of({"linux/amd64": manifest})
    stored.blobs[oci.sha256(text)] = text
    stored.manifests |= {manifest.digest: manifest, index.digest: index}
    if stored.referrers is None:
        stored.tags[IMAGE.replace(":", "-")] = index.digest
    else:
        stored.referrers[IMAGE] = index


@pytest.mark.parametrize("key", [KEY, rsa.generate_private_key(65537, 2048)], ids=["ec", "rsa"])
def test_a_signature_beside_an_image_counts(repository: Repository, key: Private) -> None:
    sign.attach(repository, IMAGE, SIMPLE, signed(key, SIMPLE))

    signatures.verify(repository, IMAGE, signatures.Key.read(public(key), "cosign.pub"))


def test_one_of_several_signatures_is_enough(repository: Repository, key: signatures.Key) -> None:
    sign.attach(repository, IMAGE, SIMPLE, signed(STRANGER, SIMPLE))
    sign.attach(repository, IMAGE, SIMPLE, signed(KEY, SIMPLE))

    signatures.verify(repository, IMAGE, key)

    assert len(list(signatures.tagged(repository, IMAGE))) == 2


@pytest.mark.parametrize("listed", [True, False], ids=["list", "tag"])
def test_a_bundle_counts(
    stored: Stored, repository: Repository, key: signatures.Key, listed: bool
) -> None:
    stored.referrers = {} if listed else None
    refer(stored, bundle(KEY, IMAGE))

    signatures.verify(repository, IMAGE, key)


@pytest.mark.parametrize("listed", [True, False], ids=["list", "tag"])
def test_nothing_is_no_signature(
    stored: Stored, repository: Repository, key: signatures.Key, listed: bool
) -> None:
    stored.referrers = {} if listed else None

    with pytest.raises(NotSigned, match=f"{TARGET}@{IMAGE} has no signature; have it signed"):
        signatures.verify(repository, IMAGE, key)


def test_what_only_refers_to_an_image_is_no_signature(
    stored: Stored, repository: Repository, key: signatures.Key
) -> None:
    refer(stored, bundle(KEY, IMAGE), media_type="application/spdx+json")

    with pytest.raises(NotSigned):
        signatures.verify(repository, IMAGE, key)


def test_a_signed_claim_about_an_image_is_no_signature_of_it(
    stored: Stored, repository: Repository, key: signatures.Key
) -> None:
    refer(stored, bundle(KEY, IMAGE, predicate="https://slsa.dev/provenance/v1"))

    with pytest.raises(NotSigned):
        signatures.verify(repository, IMAGE, key)


@pytest.mark.parametrize(
    "value",
    [signed(STRANGER, SIMPLE), signed(KEY, SIMPLE + b" "), "", "not base64"],
    ids=["stranger", "changed", "empty", "damaged"],
)
def test_a_signature_by_nobody_who_counts_is_refused(
    repository: Repository, key: signatures.Key, value: str
) -> None:
    sign.attach(repository, IMAGE, SIMPLE, value or "AA==")

    with pytest.raises(SignedByOther, match=r"has 1 signatures and none by cosign\.pub; find out"):
        signatures.verify(repository, IMAGE, key)


def test_a_bundle_that_was_changed_is_refused(
    stored: Stored, repository: Repository, key: signatures.Key
) -> None:
    one = bundle(KEY, OTHER)
    one["dsseEnvelope"]["payload"] = bundle(KEY, IMAGE)["dsseEnvelope"]["payload"]
    refer(stored, one)

    with pytest.raises(SignedByOther):
        signatures.verify(repository, IMAGE, key)


def test_a_signature_of_another_image_is_refused(
    repository: Repository, key: signatures.Key
) -> None:
    text = signatures.payload("a.example/letta/letta", OTHER)
    sign.attach(repository, IMAGE, text, signed(KEY, text))

    with pytest.raises(SignsOther, match=f"is of {OTHER}: somebody copied it"):
        signatures.verify(repository, IMAGE, key)


def test_a_bundle_of_another_image_is_refused(
    stored: Stored, repository: Repository, key: signatures.Key
) -> None:
    refer(stored, bundle(KEY, OTHER))

    with pytest.raises(SignsOther):
        signatures.verify(repository, IMAGE, key)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"critical": {"type": "receipt"}}', '{"critical": 1}']
)
def test_a_payload_that_signs_no_image_is_no_signature(
    repository: Repository, key: signatures.Key, text: str
) -> None:
    sign.attach(repository, IMAGE, text.encode(), signed(KEY, text.encode()))

    with pytest.raises(NotSigned):
        signatures.verify(repository, IMAGE, key)


def test_a_private_key_is_no_public_one(tmp_path: Path) -> None:
    path = tmp_path / "cosign.key"
    path.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    with pytest.raises(BadVerifyKey, match=f"{path} is a private key; give the cosign.pub"):
        signatures.Key.of(path)


@pytest.mark.parametrize("text", [b"", b"letta", public(ed25519.Ed25519PrivateKey.generate())])
def test_what_cosign_does_not_make_is_no_key(text: bytes) -> None:
    with pytest.raises(BadVerifyKey, match="no public key of ECDSA or RSA"):
        signatures.Key.read(text, "cosign.pub")


def test_a_key_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadVerifyKey, match=r"cannot read the public key .* \(No such file or dir"):
        signatures.Key.of(tmp_path / "cosign.pub")
