"""Signatures of images, as cosign leaves them in a registry, and whether a public key made one of them.

cosign 2 writes a tag beside the image, `sha256-<digest>.sig`; cosign 3 a bundle that refers to the image. Both are read with the
client that pushes: its logins, proxies and authorities are those of a pull. A transparency log is not asked.

Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md, and the protocol of DSSE envelopes
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from letta_stack.errors import (
    BadVerifyKey,
    NotSigned,
    SignedByOther,
    SignsOther,
)
from letta_stack.registry import oci

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from letta_stack.registry.repository import Repository

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
PAYLOAD_KIND = "cosign container image signature"
SIGNATURE = "dev.cosignproject.cosign/signature"  # annotation of a payload
BUNDLE = "application/vnd.dev.sigstore.bundle."
STATEMENT = "application/vnd.in-toto+json"
PREDICATE = "https://sigstore.dev/cosign/sign/v1"  # others say something about an image, they do not sign it


@dataclass(frozen=True)
class Signature:
    """A signature over ``signed``, which says that it is about the image ``digest``."""

    signed: bytes
    value: bytes
    digest: str


@dataclass(frozen=True)
class Key:
    """A public key."""

    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    place: str

    @classmethod
    def of(cls, path: Path) -> Key:
        """Read a PEM file. Raises ``BadVerifyKey``."""
        try:
            return cls.read(path.read_bytes(), str(path))
        except OSError as error:
            raise BadVerifyKey(
                f"cannot read the public key {path} ({error.strerror}); give the cosign.pub of whoever signs"
            ) from error

    @classmethod
    def read(cls, text: bytes, place: str) -> Key:
        """Read PEM that came from ``place``. Raises ``BadVerifyKey``."""
        try:
            key = load_pem_public_key(text)
        except ValueError:
            key = None
        if not isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)):
            kind = "a private key" if b"PRIVATE KEY" in text else "no public key of ECDSA or RSA"
            raise BadVerifyKey(
                f"{place} is {kind}; give the cosign.pub of whoever signs (`cosign public-key --key KEY`)"
            )
        return cls(key, place)

    def made(self, signature: Signature) -> bool:
        """Tell whether a signature is this key's."""
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature.value, signature.signed, padding.PKCS1v15(), SHA256())
            else:
                self.key.verify(signature.value, signature.signed, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def tag(digest: str) -> str:
    """Return the tag of an image's signatures."""
    return f"{digest.replace(':', '-')}.sig"


def payload(name: str, digest: str) -> bytes:
    """Return what is signed: that ``digest``, published as ``name``, is meant."""
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": digest},
        "type": PAYLOAD_KIND,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def verify(repository: Repository, digest: str, key: Key) -> None:
    """Prove that the holder of a key signed an image.

    Raises:
        NotSigned: nobody did.
        SignedByOther: somebody else did.
        SignsOther: what the holder of the key signed is another image.

    """
    image = f"{repository.target}@{digest}"
    found = [*tagged(repository, digest), *bundled(repository, digest)]
    if not found:
        raise NotSigned(
            f"{image} has no signature; have it signed (`cosign sign --key KEY {image}`), or deploy one that is"
        )
    mine = [one for one in found if key.made(one)]
    if not mine:
        raise SignedByOther(
            f"{image} has {len(found)} signatures and none by {key.place}; find out who signed it before you trust it, or "
            "give the public key of whoever may"
        )
    if all(one.digest != digest for one in mine):
        raise SignsOther(
            f"the signature beside {image} is of {mine[0].digest}: somebody copied it there; do not run this image, and find "
            "out who can write to the registry"
        )


def tagged(repository: Repository, digest: str) -> Iterator[Signature]:
    """Read the signatures of the tag beside an image."""
    if repository.digest(tag(digest)) is None:
        return
    for layer in repository.manifest(tag(digest)).document.get("layers", []):
        value = mapping(layer.get("annotations")).get(SIGNATURE)
        if layer.get("mediaType") != PAYLOAD_TYPE or not value:
            continue
        signed = repository.read(oci.Descriptor.from_json(layer))
        critical = mapping(parsed(signed).get("critical"))
        if critical.get("type") == PAYLOAD_KIND:
            named = str(mapping(critical.get("image")).get("docker-manifest-digest"))
            yield Signature(signed, decoded(value), named)


def bundled(repository: Repository, digest: str) -> Iterator[Signature]:
    """Read the signatures in bundles that refer to an image."""
    # Not by the type that a list gives: where the registry has no list, cosign 3 writes a wrong one.
    for entry in referrers(repository, digest):
        for layer in repository.manifest(entry["digest"]).document.get("layers", []):
            if str(layer.get("mediaType", "")).startswith(BUNDLE):
                yield from in_bundle(parsed(repository.read(oci.Descriptor.from_json(layer))))


def referrers(repository: Repository, digest: str) -> list[dict[str, Any]]:
    """Return what refers to an image: as the registry knows it, else as clients note it in a tag."""
    index = repository.referrers(digest)
    fallback = digest.replace(":", "-")
    if index is None and repository.digest(fallback) is not None:
        index = repository.manifest(fallback)
    return list(index.document.get("manifests") or []) if index else []


def in_bundle(bundle: dict[str, Any]) -> Iterator[Signature]:
    """Read the signatures in one bundle, one for each image that its statement names."""
    envelope = mapping(bundle.get("dsseEnvelope"))
    content = decoded(str(envelope.get("payload")))
    statement = parsed(content)
    if envelope.get("payloadType") != STATEMENT or statement.get("predicateType") != PREDICATE:
        return
    signed = b"DSSEv1 %d %s %d %s" % (len(STATEMENT), STATEMENT.encode(), len(content), content)
    for subject in statement.get("subject", []):
        named = f"sha256:{mapping(mapping(subject).get('digest')).get('sha256')}"
        for one in envelope.get("signatures", []):
            yield Signature(signed, decoded(str(mapping(one).get("sig"))), named)


def parsed(content: bytes) -> dict[str, Any]:
    """Parse a JSON object; one without members stands for everything else."""
    try:
        return mapping(json.loads(content))
    except ValueError:
        return {}


def mapping(value: object) -> dict[str, Any]:
    """Return what somebody else wrote as an object, an empty one for everything else."""
    return value if isinstance(value, dict) else {}


def decoded(text: str) -> bytes:
    """Decode base64; nothing stands for what is none, and no key made that."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
