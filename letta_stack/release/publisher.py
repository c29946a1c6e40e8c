"""Publish an image so that whoever pulls a release tag gets all of it, or the one before.

Read the registries, plan, then act; what is read again after the build decides, so that the same command after an
interruption anywhere does what is left to do. Content goes by digest, is verified, and only then gets its names:
the immutable tag first, floating tags last. A registry has no transactions, but a name is written in one request.
"""

from __future__ import annotations

import contextlib
import enum
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.engine import disk
from letta_stack.errors import (
    InterruptedByUser,
    LettaStackError,
    ReleaseIncomplete,
    TagTaken,
)
from letta_stack.registry import oci
from letta_stack.registry.repository import Registry
from letta_stack.release import tags
from letta_stack.release.tags import Channel, Kind

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection, Mapping, Sequence

    from letta_stack.registry.reference import Target
    from letta_stack.registry.repository import Patience
from letta_stack.release.tags import Decision, Release

MEGABYTE = 1_000_000


class State(enum.Enum):
    """What a push does with a tag. The value is what the user reads."""

    NEW = "new"
    MOVE = "moves"
    UNCHANGED = "unchanged"
    KEPT = "not moved"
    # Only before the build: the digest is not known yet.
    COMPARE = "exists, must get the same digest"
    TAKEN = "taken by another digest"


@dataclass(frozen=True)
class Step:
    """One tag in one repository. ``now`` is the digest that it names before the push, "" if it is free."""

    decision: Decision
    now: str
    state: State

    @property
    def acts(self) -> bool:
        """Whether something has to be written."""
        return self.state in {State.NEW, State.MOVE}


@dataclass(frozen=True)
class Wanted:
    """What is to be released. ``labels`` must be on every platform's image."""

    channel: Channel
    release: Release
    commit: str
    day: dt.date
    platforms: tuple[str, ...]
    labels: Mapping[str, str]
    allow_older: bool = False

    def decide(self, present: Collection[Release]) -> list[Decision]:
        """Decide the tags, given the releases that a repository has."""
        if self.channel is Channel.NIGHTLY:
            return tags.decide_nightly(self.day)
        if self.channel is Channel.COMMIT:
            return tags.decide_commit(self.commit)
        # A push that is run again moves nothing back: it needs no permission.
        if self.release not in present:
            highest = max((other for other in present if other.final), default=None)
            tags.check_not_older(self.release, highest, allow_older=self.allow_older)
        return tags.decide(self.release, present)


def plan(decisions: Sequence[Decision], now: Mapping[str, str], digest: str = "") -> list[Step]:
    """Compare decisions with what the tags name ``now``. ``digest`` is empty as long as nothing is built."""
    steps: list[Step] = []
    for decision in decisions:
        current = now.get(decision.tag, "")
        if not decision.write:
            state = State.KEPT
        elif not current:
            state = State.NEW
        elif digest and current == digest:
            state = State.UNCHANGED
        elif decision.kind is Kind.FLOATING:
            state = State.MOVE
        else:
            state = State.TAKEN if digest else State.COMPARE
        steps.append(Step(decision, current, state))
    return steps


def converge(registry: Registry, wanted: Wanted, digest: str = "") -> list[Step]:
    """Read a repository and say what is left to do."""
    decisions = wanted.decide(tags.published(registry.tags()))
    now = {
        decision.tag: registry.digest(decision.tag) or ""
        for decision in decisions
        if decision.write
    }
    return plan(decisions, now, digest)


def describe(title: str, steps: Sequence[Step]) -> list[str]:
    """Return the plan in words: a title, and one line per tag."""
    width = max(len(step.decision.tag) for step in steps)
    lines = [title]
    for step in steps:
        was = f" (now {step.now[:19]})" if step.now and step.state is not State.UNCHANGED else ""
        lines.append(
            f"  {step.decision.tag:<{width}}  {step.decision.kind.value:<9}  "
            f"{step.state.value}{was}: {step.decision.reason}"
        )
    return lines


def check_free(target: Target, steps: Sequence[Step], digest: str) -> None:
    """Raise ``TagTaken`` if an immutable tag names something else than ``digest``."""
    for step in steps:
        if step.state is State.TAKEN:
            message = (
                f"{target}:{step.decision.tag} is {step.now} and stays that, this build is {digest}; "
                "publish it as a new revision with --revision 2 or higher, or, to finish a release that was "
                f"interrupted, give --digest {step.now}"
            )
            raise TagTaken(message)


def send(registry: Registry, image: oci.Image) -> None:
    """Upload what is missing, the root last, all by digest; then prove that everything arrived."""
    for blob in image.blobs:
        registry.put_blob(blob, image.content)
    for manifest in image.manifests:
        if registry.digest(manifest.digest) is None:
            registry.put_manifest(manifest.digest, manifest)
    registry.verify(image.root.digest)


@dataclass
class Progress:
    """How far each target has come; the last line that a user sees is made of this."""

    waiting: list[Target]
    done: list[Target]
    failed: dict[Target, LettaStackError]

    def fail(self, target: Target, error: LettaStackError) -> None:
        """Note that a target will not be finished."""
        self.waiting.remove(target)
        self.failed[target] = error

    def finish(self, target: Target) -> None:
        """Note that a target has everything."""
        self.waiting.remove(target)
        self.done.append(target)

    def raise_for_failures(self) -> None:
        """Raise what went wrong: one target's own error, or the list."""
        if not self.failed:
            return
        if not self.done and len(self.failed) == 1:
            raise next(iter(self.failed.values()))
        done = ", ".join(map(str, self.done)) or "none"
        reasons = "; ".join(f"NOT in {target}: {error}" for target, error in self.failed.items())
        message = f"released in: {done}; {reasons} -- run the same command again to complete it"
        raise ReleaseIncomplete(message)

    def interrupted(self) -> InterruptedByUser:
        """Return what to raise after Ctrl-C."""
        done = ", ".join(map(str, self.done)) or "none"
        left = ", ".join(map(str, [*self.waiting, *self.failed])) or "none"
        message = (
            f"interrupted; complete: {done}; not complete: {left}. "
            "No tag names anything incomplete; run the same command again to go on"
        )
        return InterruptedByUser(message)


@dataclass(frozen=True)
class Publisher:
    """Everything that a push needs beside the image.

    ``say`` prints one line. ``inspect`` raises if the image is not what it should be, before anything is sent.
    """

    wanted: Wanted
    targets: Sequence[Target]
    say: Callable[[str], None]
    ca: Path | None = None
    patience: Patience | None = None
    inspect: Callable[[oci.Image], None] = lambda _: None

    def preview(self) -> None:
        """Print what a push would do. Reads only."""
        with contextlib.ExitStack() as stack:
            for registry in self._open(stack):
                self._say_plan(registry, converge(registry, self.wanted))

    def push(self, build: Callable[[Path], None], *, needed_bytes: int) -> str:
        """Check everything, have ``build`` write an OCI layout to a path, publish that; return its digest."""
        with contextlib.ExitStack() as stack:
            registries = self._open(stack)
            self._prepare(registries)
            return self._publish(registries, self._build(stack, build, needed_bytes))

    def promote(self, source: Registry, digests: Sequence[str]) -> str:
        """Publish what is in a registry already: one index, or one image per platform to be joined."""
        with contextlib.ExitStack() as stack:
            registries = self._open(stack)
            self._prepare(registries)
            if len(digests) == 1:
                return self._publish(registries, source.verify(digests[0]))
            images: dict[str, oci.Manifest] = {}
            for digest in digests:
                images |= source.verify(digest).platforms
            return self._publish(registries, oci.Image(oci.index_of(images), source))

    def upload(self, build: Callable[[Path], None], *, needed_bytes: int) -> str:
        """Publish a build without any tag; return its digest, to be promoted later."""
        with contextlib.ExitStack() as stack:
            registries = self._open(stack)
            for registry in registries:
                registry.check_writable()
            image = self._build(stack, build, needed_bytes)
            self._check_image(image)
            progress = Progress(list(self.targets), [], {})
            self._send_all(registries, image, progress)
            progress.raise_for_failures()
            return image.root.digest

    @staticmethod
    def _build(
        stack: contextlib.ExitStack, build: Callable[[Path], None], needed_bytes: int
    ) -> oci.Image:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="letta-stack-")))
        disk.check_room(directory, needed_bytes)
        path = directory / "image.tar"
        build(path)
        return stack.enter_context(oci.Layout(path)).image

    def _open(self, stack: contextlib.ExitStack) -> list[Registry]:
        return [
            stack.enter_context(Registry(target, ca=self.ca, patience=self.patience, say=self.say))
            for target in self.targets
        ]

    def _say_plan(self, registry: Registry, steps: Sequence[Step]) -> None:
        for line in describe(str(registry.target), steps):
            self.say(line)

    def _prepare(self, registries: Sequence[Registry]) -> None:
        """Find out what would fail later, while nothing has been built or written."""
        for registry in registries:
            self._say_plan(registry, converge(registry, self.wanted))
            registry.check_writable()

    def _check_image(self, image: oci.Image) -> None:
        image.check_platforms(self.wanted.platforms)
        image.check_labels(self.wanted.labels)
        self.inspect(image)

    def _publish(self, registries: Sequence[Registry], image: oci.Image) -> str:
        self._check_image(image)
        digest = image.root.digest
        self.say(f"image {digest} ({', '.join(sorted(image.platforms))})")
        for registry in registries:
            check_free(registry.target, converge(registry, self.wanted, digest), digest)
        progress = Progress(list(self.targets), [], {})
        try:
            ready = self._send_all(registries, image, progress)
            for registry in ready:
                self._tag(registry, image.root, Kind.IMMUTABLE, progress)
            for registry in ready:
                if registry.target not in progress.failed:
                    self._tag(registry, image.root, Kind.FLOATING, progress)
        except KeyboardInterrupt:
            raise progress.interrupted() from None
        progress.raise_for_failures()
        return digest

    def _send_all(
        self, registries: Sequence[Registry], image: oci.Image, progress: Progress
    ) -> list[Registry]:
        """Send the content everywhere; return the registries that have all of it."""
        ready: list[Registry] = []
        for registry in registries:
            try:
                send(registry, image)
            except LettaStackError as error:
                self.say(f"{registry.target}: failed: {error}")
                progress.fail(registry.target, error)
                continue
            ready.append(registry)
            traffic = registry.traffic
            self.say(
                f"{registry.target}: content verified; "
                f"{traffic.uploaded} blobs uploaded ({traffic.uploaded_bytes / MEGABYTE:.1f} MB), "
                f"{traffic.present} were there ({traffic.present_bytes / MEGABYTE:.1f} MB)"
            )
        return ready

    def _tag(self, registry: Registry, root: oci.Manifest, kind: Kind, progress: Progress) -> None:
        """Write one kind of tags. The plan is made again: another release may have come in between."""
        try:
            steps = converge(registry, self.wanted, root.digest)
            check_free(registry.target, steps, root.digest)
            for step in steps:
                if step.decision.kind is not kind:
                    continue
                if step.acts:
                    registry.put_manifest(step.decision.tag, root)
                self.say(f"{registry.target}:{step.decision.tag} {step.state.value}")
            if kind is Kind.FLOATING:
                progress.finish(registry.target)
        except LettaStackError as error:
            self.say(f"{registry.target}: failed: {error}")
            progress.fail(registry.target, error)
