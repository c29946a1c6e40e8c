"""Images as the OCI specifications describe them: manifests, descriptors, indexes."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

from letta_stack.errors import ContentBroken, PlatformMissing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
INDEX_TYPES = (INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json")
IMAGE_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# All four, always: a registry answers 404 for an existing tag whose type is not in the Accept header.
MANIFEST_TYPES = (*INDEX_TYPES, *IMAGE_TYPES)
# An attestation is listed beside the images, for a platform that nobody has.
NO_PLATFORM = "unknown/unknown"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def sha256(content: bytes) -> str:
    """Return the digest of ``content`` in the form that manifests use."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Descriptor:
    """A reference to content. ``platform`` is ``os/architecture[/variant]``, "" if it was not said."""

    media_type: str
    digest: str
    size: int
    platform: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the specification's form."""
        platform = value.get("platform") or {}
        return cls(
            media_type=str(value.get("mediaType", "")),
            digest=str(value["digest"]),
            size=int(value["size"]),
            platform=platform_name(platform) if platform else "",
        )

    def to_json(self) -> dict[str, Any]:
        """Write the specification's form."""
        value: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.platform:
            names = ("os", "architecture", "variant")
            value["platform"] = dict(zip(names, self.platform.split("/"), strict=False))
        return value


def platform_name(value: Mapping[str, Any]) -> str:
    """Return ``os/architecture[/variant]``; arm64 is v8 unless said otherwise, so that is left out."""
    parts = [str(value.get("os", "")), str(value.get("architecture", ""))]
    variant = str(value.get("variant", ""))
    if variant and (parts[1], variant) != ("arm64", "v8"):
        parts.append(variant)
    return "/".join(parts)


@dataclass(frozen=True)
class Manifest:
    """An image manifest or an index, byte for byte: its digest is the digest of these bytes."""

    body: bytes
    media_type: str

    @functools.cached_property
    def digest(self) -> str:
        """The digest."""
        return sha256(self.body)

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """The parsed JSON."""
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            message = f"{self.digest} is not a manifest; build or push it again"
            raise ContentBroken(message)
        return document

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests rather than layers."""
        return self.media_type in INDEX_TYPES

    @property
    def manifests(self) -> list[Descriptor]:
        """What an index lists."""
        return [Descriptor.from_json(item) for item in self.document.get("manifests", [])]

    @property
    def config(self) -> Descriptor:
        """The image's configuration."""
        return Descriptor.from_json(self.document["config"])

    @property
    def blobs(self) -> list[Descriptor]:
        """Configuration and layers of an image."""
        if self.is_index:
            return []
        return [self.config, *(Descriptor.from_json(item) for item in self.document["layers"])]


class Blobs(Protocol):
    """Where blobs come from."""

    def open_blob(self, blob: Descriptor) -> IO[bytes]:
        """Open a blob for reading from its start."""


class Content(Blobs, Protocol):
    """Where an image comes from: a layout that was just built, or a registry."""

    def manifest(self, digest: str) -> Manifest:
        """Return a manifest by its digest."""

    def read(self, blob: Descriptor) -> bytes:
        """Return a small blob, checked against its digest."""


@dataclass(frozen=True)
class Image:
    """A release's content: the root is what a tag will name, and everything that it needs comes with it."""

    root: Manifest
    content: Content

    @functools.cached_property
    def manifests(self) -> list[Manifest]:
        """Every manifest, children before their parent: the order in which a registry accepts them."""
        return [*(self.content.manifest(item.digest) for item in self.root.manifests), self.root]

    @functools.cached_property
    def blobs(self) -> list[Descriptor]:
        """Every blob once."""
        found = [blob for manifest in self.manifests for blob in manifest.blobs]
        return list({blob.digest: blob for blob in found}.values())

    @functools.cached_property
    def platforms(self) -> dict[str, Manifest]:
        """The image of each platform, attestations left out."""
        images: dict[str, Manifest] = {}
        for manifest in self.manifests:
            if manifest.is_index:
                continue
            config = read_json(self.content, manifest.config)
            # An attestation's configuration says unknown/unknown, like its descriptor in the index.
            if (name := platform_name(config)) != NO_PLATFORM:
                images[name] = manifest
        return images

    def check_platforms(self, wanted: Collection[str]) -> None:
        """Raise ``PlatformMissing`` unless exactly the ``wanted`` platforms are there."""
        missing = sorted(set(wanted) - set(self.platforms))
        if missing or set(self.platforms) - set(wanted):
            message = (
                f"the image holds {', '.join(sorted(self.platforms)) or 'no platform'}, asked for were "
                f"{', '.join(sorted(wanted))}; build for the platforms that you want with --platform"
            )
            raise PlatformMissing(message)

    def labels(self, platform: str) -> dict[str, str]:
        """Return a platform's labels."""
        config = read_json(self.content, self.platforms[platform].config)
        return dict((config.get("config") or {}).get("Labels") or {})

    def check_labels(self, wanted: Mapping[str, str]) -> None:
        """Raise ``ContentBroken`` unless every platform carries the ``wanted`` labels."""
        for platform in self.platforms:
            found = self.labels(platform)
            for name, value in wanted.items():
                if found.get(name, "") != value:
                    message = (
                        f"{platform}: label {name} is {found.get(name, '')!r} and should be {value!r}; "
                        "the build has to set it"
                    )
                    raise ContentBroken(message)


def read_json(content: Content, blob: Descriptor) -> dict[str, Any]:
    """Read a JSON blob."""
    try:
        document = json.loads(content.read(blob))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        message = f"{blob.digest} is not a configuration; build or push it again"
        raise ContentBroken(message)
    return document


def index_of(images: Mapping[str, Manifest]) -> Manifest:
    """Return an index over one image manifest per platform, in the order of the platforms' names."""
    entries = [
        Descriptor(manifest.media_type, manifest.digest, len(manifest.body), platform).to_json()
        for platform, manifest in sorted(images.items())
    ]
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
    return Manifest(json.dumps(document, indent=2).encode(), INDEX_TYPE)
