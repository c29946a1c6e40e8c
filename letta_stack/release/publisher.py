"""Publish an image so that whoever pulls a release tag gets all of it, or the one before.

Read the registries, plan, then act; what is read again after the build decides, so that the same command after an
interruption anywhere does what is left to do. Content goes by digest, is verified, and only then gets its names:
the immutable tag first, floating tags last. A registry has no transactions, but a name is written in one request.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.engine import disk
from letta_stack.errors import LettaStackError, RegistryDenied
from letta_stack.registry import oci
from letta_stack.registry.layout import Layout
from letta_stack.registry.repository import Repository
from letta_stack.release import plan
from letta_stack.release.outcome import Outcome
from letta_stack.release.tags import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from letta_stack.registry.reference import Target
    from letta_stack.registry.retries import RetryPolicy
    from letta_stack.release.plan import Wanted
    from letta_stack.release.sign import Signer

MEGABYTE = 1_000_000


def send(repository: Repository, image: oci.Image) -> None:
    """Upload what is missing, the root last, all by digest; then prove that everything arrived."""
    if image.content is repository:
        return  # found and verified there
    for blob in image.blobs:
        repository.put_blob(blob, image.content)
    for manifest in image.manifests:
        if repository.digest(manifest.digest) is None:
            repository.put_manifest(manifest.digest, manifest)
    repository.verify(image.root.digest)


@dataclass(frozen=True)
class Publisher:
    """Everything that a push needs beside the image.

    ``say`` prints one line. ``inspect`` raises if the image is not what it should be, before anything is sent. ``signer`` signs what
    gets a tag, before it gets it.
    """

    wanted: Wanted
    targets: Sequence[Target]
    say: Callable[[str], None]
    ca: Path | None = None
    plain_http: Collection[str] = ()
    policy: RetryPolicy | None = None
    inspect: Callable[[oci.Image], None] = lambda _: None
    signer: Signer | None = None

    def preview(self) -> None:
        """Print what a push would do. Reads only."""
        with contextlib.ExitStack() as stack:
            try:
                self._say_plans(self._open(stack))
            except RegistryDenied as error:
                message = f"{error}; if it does not exist yet, only a push can tell whether you may make it"
                raise RegistryDenied(message) from None

    def push(self, build: Callable[[Path], None], *, needed_bytes: int, reuse: bool = False) -> str:
        """Check everything, have ``build`` write an OCI layout to a path, publish that; return its digest.

        With ``reuse`` nothing is built if a repository has exactly that under the immutable tag. Such an image was
        inspected before it got its name.
        """
        with contextlib.ExitStack() as stack:
            repositories = self._open(stack)
            self._prepare(repositories)
            image = plan.find_published(repositories, self.wanted) if reuse else None
            if image is not None:
                self.say(
                    "not built: it is published with the same inputs (--no-cache builds it anew)"
                )
                return self._tag_all(repositories, image)
            return self._publish(repositories, self._build(stack, build, needed_bytes))

    def promote(self, source: Repository, digests: Sequence[str]) -> str:
        """Publish what is in a registry already: one index, or one image per platform to be joined."""
        with contextlib.ExitStack() as stack:
            repositories = self._open(stack)
            self._prepare(repositories)
            if len(digests) == 1:
                return self._publish(repositories, source.verify(digests[0]))
            images: dict[str, oci.Manifest] = {}
            for digest in digests:
                images |= source.verify(digest).platforms
            return self._publish(repositories, oci.Image(oci.index_of(images), source))

    def upload(self, build: Callable[[Path], None], *, needed_bytes: int) -> str:
        """Publish a build without any tag; return its digest, to be promoted later."""
        with contextlib.ExitStack() as stack:
            repositories = self._open(stack)
            for repository in repositories:
                repository.check_writable()
            image = self._build(stack, build, needed_bytes)
            self._check_image(image)
            outcome = Outcome(list(self.targets))
            self._send_all(repositories, image, outcome)
            outcome.raise_for_failures()
            return image.root.digest

    @staticmethod
    def _build(
        stack: contextlib.ExitStack, build: Callable[[Path], None], needed_bytes: int
    ) -> oci.Image:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="letta-stack-")))
        disk.check_room(directory, needed_bytes)
        path = directory / "image.tar"
        build(path)
        return stack.enter_context(Layout(path)).image

    def _open(self, stack: contextlib.ExitStack) -> list[Repository]:
        return [
            stack.enter_context(
                Repository(
                    target,
                    ca=self.ca,
                    plain_http=self.plain_http,
                    policy=self.policy,
                    say=self.say,
                )
            )
            for target in self.targets
        ]

    def _say_plans(self, repositories: Sequence[Repository]) -> None:
        wanted = plan.number_nightly(repositories, self.wanted)
        for repository in repositories:
            for line in plan.describe(str(repository.target), plan.read(repository, wanted)):
                self.say(line)

    def _prepare(self, repositories: Sequence[Repository]) -> None:
        """Find out what would fail later, while nothing has been built or written."""
        for repository in repositories:
            repository.check_writable()
        self._say_plans(repositories)

    def _check_image(self, image: oci.Image) -> None:
        image.check_platforms(self.wanted.platforms)
        image.check_labels(self.wanted.labels)
        self.inspect(image)

    def _publish(self, repositories: Sequence[Repository], image: oci.Image) -> str:
        self._check_image(image)
        return self._tag_all(repositories, image)

    def _tag_all(self, repositories: Sequence[Repository], image: oci.Image) -> str:
        """Send an image that is right to every repository, and give it its tags there."""
        digest = image.root.digest
        wanted = plan.number_nightly(repositories, self.wanted, digest)
        self.say(f"image {digest} ({', '.join(sorted(image.platforms))})")
        for repository in repositories:
            plan.check_free(repository.target, plan.read(repository, wanted, digest), digest)
        outcome = Outcome(list(self.targets))
        try:
            for repository in self._send_all(repositories, image, outcome):
                self._sign(repository, digest, outcome)
            for kind in (Kind.IMMUTABLE, Kind.FLOATING):
                for repository in repositories:
                    if repository.target not in outcome.failed:
                        self._tag(repository, wanted, image.root, kind, outcome)
        except KeyboardInterrupt:
            raise outcome.interrupted() from None
        outcome.raise_for_failures()
        return digest

    def _send_all(
        self, repositories: Sequence[Repository], image: oci.Image, outcome: Outcome
    ) -> list[Repository]:
        """Send the content everywhere; return the repositories that have all of it."""
        ready: list[Repository] = []
        for repository in repositories:
            try:
                send(repository, image)
            except LettaStackError as error:
                self.say(f"{repository.target}: failed: {error}")
                outcome.fail(repository.target, error)
                continue
            ready.append(repository)
            traffic = repository.traffic
            self.say(
                f"{repository.target}: content verified; "
                f"{traffic.uploaded} blobs uploaded ({traffic.uploaded_bytes / MEGABYTE:.1f} MB), "
                f"{traffic.present} were there ({traffic.present_bytes / MEGABYTE:.1f} MB)"
            )
        return ready

    def _sign(self, repository: Repository, digest: str, outcome: Outcome) -> None:
        """Sign what is sent, where a key is set."""
        if self.signer is None:
            return
        try:
            made = self.signer.sign(repository, digest)
        except LettaStackError as error:
            self.say(f"{repository.target}: failed: {error}")
            outcome.fail(repository.target, error)
            return
        self.say(f"{repository.target}: {'signed' if made else 'signed already'}")

    def _tag(
        self,
        repository: Repository,
        wanted: Wanted,
        root: oci.Manifest,
        kind: Kind,
        outcome: Outcome,
    ) -> None:
        """Write one kind of tags. The plan is made again: another release may have come in between."""
        try:
            steps = plan.read(repository, wanted, root.digest)
            plan.check_free(repository.target, steps, root.digest)
            for step in steps:
                if step.decision.kind is not kind:
                    continue
                if step.acts:
                    repository.put_manifest(step.decision.tag, root)
                self.say(f"{repository.target}:{step.decision.tag} {step.state.value}")
            if kind is Kind.FLOATING:
                outcome.finish(repository.target)
        except LettaStackError as error:
            self.say(f"{repository.target}: failed: {error}")
            outcome.fail(repository.target, error)
