"""Sign what is published, with cosign's key and cosign itself, in the form that every version of it verifies.

cosign only signs, in a container without a network; the client that pushed the image brings the signature to the registry, so
that logins, proxies and authorities are the same.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import BadSignKey, CommandFailed
from letta_stack.image import third_party
from letta_stack.registry import oci, signatures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.image.server import Request
    from letta_stack.registry.repository import Repository

KEY_VARIABLE = "LETTA_STACK_SIGN_KEY"
PASSWORD_VARIABLE = "LETTA_STACK_SIGN_PASSWORD_FILE"  # noqa: S105 - the name of a variable
COSIGN_PASSWORD = "COSIGN_PASSWORD"  # noqa: S105 - cosign's own variable
IMAGE = "COSIGN_IMAGE"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True)
class Signer:
    """A key that opens, and the cosign that uses it."""

    image: str
    key: Path
    password: str
    public: signatures.Key

    @classmethod
    def of(
        cls, named: str, environment: Mapping[str, str], *, images: str, ca: Path | None
    ) -> Signer:
        """Open the key in the file ``named``; ``images`` and ``ca`` are for cosign's image. Raises ``BadSignKey``."""
        key = Path(named).expanduser().resolve()
        if not os.access(key, os.R_OK) or not key.is_file():
            raise BadSignKey(
                f"{KEY_VARIABLE} names {named}, which is no file that you can read; make one: `cosign generate-key-pair`"
            )
        password = read_password(environment)
        image = third_party.ensure([IMAGE], source=images, ca=ca)[IMAGE]
        try:
            public = cosign(image, key, password, "public-key", "--key=/key")
        except CommandFailed as error:
            raise BadSignKey(
                f"cosign cannot use {key} ({error.last_line}); its password is read from the file that {PASSWORD_VARIABLE} names, "
                f"or from {COSIGN_PASSWORD}"
            ) from None
        return cls(
            image, key, password, signatures.Key.read(public.encode(), f"{key}'s public key")
        )

    def sign(self, repository: Repository, digest: str) -> bool:
        """Leave a signature beside an image unless it has this key's; tell whether one was made."""
        present = list(signatures.tagged(repository, digest))
        if any(self.public.made(one) and one.digest == digest for one in present):
            return False
        text = signatures.payload(str(repository.target), digest)
        with tempfile.TemporaryDirectory(prefix="letta-stack-") as directory:
            path = Path(directory, "payload")
            path.write_bytes(text)
            flags = ["--key=/key", "--tlog-upload=false", "--yes", "/payload"]
            value = cosign(
                self.image, self.key, self.password, "sign-blob", *flags, mounts={path: "/payload"}
            ).strip()
        attach(repository, digest, text, value)
        return True


def signer_of(request: Request) -> Signer | None:
    """Return what signs a release, None if no key is set. Raises ``BadSignKey``."""
    named = os.environ.get(KEY_VARIABLE)
    return Signer.of(named, os.environ, images=request.images, ca=request.ca) if named else None


def read_password(environment: Mapping[str, str]) -> str:
    """Return the password of the key, "" for one that has none. Raises ``BadSignKey``."""
    named = environment.get(PASSWORD_VARIABLE)
    if not named:
        return environment.get(COSIGN_PASSWORD, "")
    try:
        return Path(named).expanduser().read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        raise BadSignKey(
            f"{PASSWORD_VARIABLE} names {named}, which cannot be read ({error.strerror}); write the password of the key into it"
        ) from error


def cosign(
    image: str, key: Path, password: str, *command: str, mounts: Mapping[Path, str] | None = None
) -> str:
    """Run cosign with a key; the password goes through its standard input, where no list of processes shows it."""
    volumes = [
        f"--volume={path}:{place}:ro" for path, place in {key: "/key", **(mounts or {})}.items()
    ]
    options = ["--rm", "--interactive", "--network=none", "--read-only", "--pull=never"]
    user = f"--user={os.getuid()}:{os.getgid()}"  # the key is that user's
    return process.capture(
        ["docker", "run", *options, user, *volumes, image, *command], stdin=password
    )


@dataclass(frozen=True)
class Memory:
    """A few bytes as the content of blobs."""

    blobs: Mapping[str, bytes]

    def open_blob(self, blob: oci.Descriptor) -> IO[bytes]:
        """Open a blob for reading from its start."""
        return io.BytesIO(self.blobs[blob.digest])


def attach(repository: Repository, digest: str, text: bytes, value: str) -> None:
    """Write a signature to the tag of an image's signatures, beside those that are there."""
    place = signatures.tag(digest)
    layer = oci.Descriptor(signatures.PAYLOAD_TYPE, oci.sha256(text), len(text)).to_json()
    layers = [layer | {"annotations": {signatures.SIGNATURE: value}}]
    if repository.digest(place) is not None:
        layers = [*repository.manifest(place).document["layers"], *layers]
    rootfs = {"type": "layers", "diff_ids": [one["digest"] for one in layers]}
    config = json.dumps({"architecture": "", "config": {}, "os": "", "rootfs": rootfs}).encode()
    described = oci.Descriptor(CONFIG_TYPE, oci.sha256(config), len(config))
    document = {
        "schemaVersion": 2,
        "mediaType": oci.IMAGE_TYPES[0],
        "config": described.to_json(),
        "layers": layers,
    }
    content = Memory({described.digest: config, oci.sha256(text): text})
    for blob in (described, oci.Descriptor.from_json(layer)):
        repository.put_blob(blob, content)
    repository.put_manifest(place, oci.Manifest(json.dumps(document).encode(), oci.IMAGE_TYPES[0]))
