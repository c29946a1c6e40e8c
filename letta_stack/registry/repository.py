"""A repository in a registry: what a release has to read, write and verify there, and nothing else."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, NoReturn, Self, cast
from urllib.parse import urlsplit

from letta_stack.errors import ContentBroken, RegistryRefused, TagTaken
from letta_stack.registry import answers, oci
from letta_stack.registry.retries import Retries, RetryPolicy, TransientError
from letta_stack.registry.session import PUSH, Body, Session
from letta_stack.registry.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from letta_stack.registry.reference import Target

ACCEPT = {"Accept": ", ".join(oci.MANIFEST_TYPES)}
TAGS_PER_PAGE = 1000
# A blob of this many bytes takes a while on a usual line.
LARGE_BLOB = 10_000_000


@dataclass
class Traffic:
    """What a push moved."""

    uploaded: int = 0
    uploaded_bytes: int = 0
    present: int = 0
    present_bytes: int = 0


class Repository:
    """One repository in one registry."""

    def __init__(
        self,
        target: Target,
        *,
        ca: Path | None = None,
        plain_http: Collection[str] = (),
        policy: RetryPolicy | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Keep the facts; nothing is sent yet.

        Args:
            target: names the registry and the repository.
            ca: PEM file, trusted beside the system's authorities.
            plain_http: every ``HOST[:PORT]`` beside this machine that may be spoken to without TLS.
            policy: how often and how long to ask.
            say: gets a line when something takes long or has to be tried again.

        """
        policy = policy or RetryPolicy()
        self.target = target
        self.traffic = Traffic()
        self._say = say
        self._retry = Retries(target.registry, policy, say)
        self._transport = Transport(target, ca=ca, plain_http=plain_http, policy=policy)
        self._session = Session(target, self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    # -- reading

    def digest(self, reference: str) -> str | None:
        """Return what a tag or digest names, or None if it definitely does not exist."""
        return self._retry(lambda: self._digest(reference))

    def _digest(self, reference: str) -> str | None:
        answer = self._session.read("HEAD", f"manifests/{reference}", headers=ACCEPT)
        if answer is None:
            return None
        # The header is optional in the specification, the body is not.
        return answer.headers.get("Docker-Content-Digest") or self._manifest(reference).digest

    def manifest(self, reference: str) -> oci.Manifest:
        """Return a manifest; by digest it is checked against it. ``ContentBroken`` if it is not there."""
        return self._retry(lambda: self._manifest(reference))

    def _manifest(self, reference: str) -> oci.Manifest:
        answer = self._session.read("GET", f"manifests/{reference}", headers=ACCEPT)
        if answer is None:
            self._missing(f"manifest {reference}")
        media_type = answer.headers.get("Content-Type", "").partition(";")[0]
        manifest = oci.Manifest(answer.content, media_type)
        promised = reference if ":" in reference else answer.headers.get("Docker-Content-Digest")
        if promised and manifest.digest != promised:
            raise TransientError(f"manifest {reference} arrived damaged")
        return manifest

    def referrers(self, digest: str) -> oci.Manifest | None:
        """Return the index of what refers to a manifest, None where the registry does not keep one."""
        path = f"referrers/{digest}"
        answer = self._retry(lambda: self._session.read("GET", path, headers=ACCEPT))
        return None if answer is None else oci.Manifest(answer.content, oci.INDEX_TYPE)

    def image(self, reference: str) -> oci.Image:
        """Return the image that a tag or digest names."""
        return oci.Image(self.manifest(reference), self)

    def tags(self) -> list[str]:
        """Return all tags; none if the repository does not exist yet."""
        found: list[str] = []
        path = f"tags/list?n={TAGS_PER_PAGE}"
        while path:
            names, path = self._retry(lambda path=path: self._tags_page(path))  # type: ignore[misc]
            found += names
        return found

    def _tags_page(self, path: str) -> tuple[list[str], str]:
        answer = self._session.read("GET", path)
        if answer is None:
            return [], ""
        try:
            names = answer.json().get("tags") or []
        except (ValueError, AttributeError):
            raise TransientError("the list of tags arrived damaged") from None
        next_page = answer.links.get("next", {}).get("url", "")
        following = self._transport.resolve(answer, next_page) if next_page else ""
        return [str(name) for name in names], following

    def blob_size(self, digest: str) -> int | None:
        """Return a blob's size in bytes, or None if it definitely does not exist."""
        return self._retry(lambda: self._blob_size(digest))

    def _blob_size(self, digest: str) -> int | None:
        answer = self._session.read("HEAD", f"blobs/{digest}")
        return None if answer is None else int(answer.headers.get("Content-Length", -1))

    def open_blob(self, blob: oci.Descriptor) -> IO[bytes]:
        """Open a blob for reading from its start."""
        answer = self._retry(lambda: self._session.read("GET", f"blobs/{blob.digest}", stream=True))
        if answer is None:
            self._missing(f"blob {blob.digest}")
        answer.raw.decode_content = True
        return cast("IO[bytes]", answer.raw)

    def read(self, blob: oci.Descriptor) -> bytes:
        """Return a small blob, checked against its digest."""

        def get() -> bytes:
            answer = self._session.read("GET", f"blobs/{blob.digest}")
            if answer is None:
                self._missing(f"blob {blob.digest}")
            if oci.sha256(answer.content) != blob.digest:
                raise TransientError(f"blob {blob.digest} arrived damaged")
            return answer.content

        return self._retry(get)

    # -- writing

    def check_writable(self) -> None:
        """Begin an upload and cancel it: shows missing rights or a read-only registry before anything is built."""
        url = self._retry(self._begin_upload)
        self._session.may_be_new = True
        # A login that may push need not be one that may delete, so a failure here says nothing.
        with contextlib.suppress(TransientError):
            self._session.exchange("DELETE", url, PUSH)

    def put_manifest(self, reference: str, manifest: oci.Manifest) -> None:
        """Write a manifest under a tag or its digest, and prove that the name now means it."""
        headers = {"Content-Type": manifest.media_type}
        path = f"manifests/{reference}"
        self._retry(
            lambda: self._session.send("PUT", path, scope=PUSH, headers=headers, data=manifest.body)
        )
        self._session.may_be_new = False
        if reference == manifest.digest:
            return  # the registry has compared it; `verify` reads it back
        found = self.digest(reference)
        if found != manifest.digest:
            message = (
                f"{self.target}:{reference} names {found} just after {manifest.digest} was written; "
                "somebody else writes it too: see who, then run the same push again"
            )
            raise TagTaken(message)

    def put_blob(self, blob: oci.Descriptor, content: oci.Blobs) -> None:
        """Upload a blob unless it is there. An attempt that broke off is begun anew."""

        def put() -> None:
            if self._blob_size(blob.digest) == blob.size:
                self.traffic.present += 1
                self.traffic.present_bytes += blob.size
                return
            headers = {"Content-Type": "application/octet-stream"}
            url = self._begin_upload()
            url += ("&" if urlsplit(url).query else "?") + f"digest={blob.digest}"
            if blob.size >= LARGE_BLOB:
                self._say(f"{self.target}: uploading {blob.size / 1e6:.0f} MB")
            with content.open_blob(blob) as stream:
                answer = self._session.send(
                    "PUT", url, scope=PUSH, headers=headers, data=Body(stream, blob.size)
                )
            if answer.status_code == HTTPStatus.NOT_FOUND:
                raise TransientError(f"the registry forgot the upload of {blob.digest}")
            self.traffic.uploaded += 1
            self.traffic.uploaded_bytes += blob.size

        self._retry(put)

    def _begin_upload(self) -> str:
        """Return the URL that the registry gives for the content of a blob."""
        answer = self._session.send("POST", "blobs/uploads/", scope=PUSH, data=b"")
        if "NAME_UNKNOWN" in answers.words(answer):
            message = (
                f"{self.target.registry} has no repository {self.target.repository} and makes none at a push "
                f"({answers.words(answer)}); create it there, then run the same push again "
                f"(Amazon ECR: `aws ecr create-repository --repository-name {self.target.repository}`)"
            )
            raise RegistryRefused(message)
        if "Location" not in answer.headers:
            message = f"{self.target.registry} began no upload; is this a registry?"
            raise RegistryRefused(message)
        return self._transport.resolve(answer, answer.headers["Location"])

    # -- verifying

    def verify(self, digest: str) -> oci.Image:
        """Prove that everything under ``digest`` is in the registry; ``ContentBroken`` names what is not."""
        image = self.image(digest)
        for blob in image.blobs:
            size = self.blob_size(blob.digest)
            if size is None:
                self._missing(f"blob {blob.digest}")
            if size != blob.size:
                message = (
                    f"{self.target}: blob {blob.digest} has {size} bytes and should have {blob.size}; "
                    "have the registry check its storage"
                )
                raise ContentBroken(message)
        return image

    def _missing(self, what: str) -> NoReturn:
        message = f"{self.target} lacks {what}; run the same push again"
        raise ContentBroken(message)
