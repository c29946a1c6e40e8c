"""What a push does with each tag: what is to be released, compared with what a repository has."""

from __future__ import annotations

import contextlib
import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from letta_stack.errors import ContentBroken, PlatformMissing, TagTaken
from letta_stack.release import tags
from letta_stack.release.tags import Channel, Kind

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Mapping, Sequence

    from letta_stack.registry.oci import Image
    from letta_stack.registry.reference import Target
    from letta_stack.registry.repository import Repository
    from letta_stack.release.tags import Decision, ImageVersion


class TagState(enum.Enum):
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
    state: TagState

    @property
    def acts(self) -> bool:
        """Whether something has to be written."""
        return self.state in {TagState.NEW, TagState.MOVE}


@dataclass(frozen=True)
class Wanted:
    """What is to be released. ``labels`` must be on every platform's image; ``night`` counts the nightlies of a day."""

    channel: Channel
    version: ImageVersion
    commit: str
    day: dt.date
    platforms: tuple[str, ...]
    labels: Mapping[str, str]
    allow_older: bool = False
    night: int = 1

    @property
    def immutable_tag(self) -> str:
        """The tag that will name this image for good."""
        if self.channel is Channel.RELEASE:
            return self.version.tag
        return self.decide([])[0].tag

    def decide(self, present: Collection[ImageVersion]) -> list[Decision]:
        """Decide the tags, given the versions that a repository has."""
        if self.channel is Channel.NIGHTLY:
            return tags.decide_nightly(self.day, self.night)
        if self.channel is Channel.COMMIT:
            return tags.decide_commit(self.commit)
        # A push that is run again moves nothing back: it needs no permission.
        if self.version not in present:
            highest = max((other for other in present if other.final), default=None)
            tags.check_not_older(self.version, highest, allow_older=self.allow_older)
        return tags.decide(self.version, present)


def compare(decisions: Sequence[Decision], now: Mapping[str, str], digest: str = "") -> list[Step]:
    """Compare decisions with what the tags name ``now``. ``digest`` is empty as long as nothing is built."""
    steps: list[Step] = []
    for decision in decisions:
        current = now.get(decision.tag, "")
        if not decision.write:
            state = TagState.KEPT
        elif not current:
            state = TagState.NEW
        elif digest and current == digest:
            state = TagState.UNCHANGED
        elif decision.kind is Kind.FLOATING:
            state = TagState.MOVE
        else:
            state = TagState.TAKEN if digest else TagState.COMPARE
        steps.append(Step(decision, current, state))
    return steps


def read(repository: Repository, wanted: Wanted, digest: str = "") -> list[Step]:
    """Read a repository and say what is left to do."""
    decisions = wanted.decide(tags.published(repository.tags()))
    now = {
        decision.tag: repository.digest(decision.tag) or ""
        for decision in decisions
        if decision.write
    }
    return compare(decisions, now, digest)


def number_nightly(repositories: Sequence[Repository], wanted: Wanted, digest: str = "") -> Wanted:
    """Return ``wanted`` with the first number of its day that is free in every repository, or names ``digest``."""
    if wanted.channel is not Channel.NIGHTLY:
        return wanted
    while any(
        repository.digest(wanted.immutable_tag) not in {None, digest} for repository in repositories
    ):
        wanted = replace(wanted, night=wanted.night + 1)
    return wanted


def find_published(repositories: Sequence[Repository], wanted: Wanted) -> Image | None:
    """Return the image that a repository has under the immutable tag, if it is exactly what would be built.

    Exactly: the same platforms, each with all of ``wanted.labels``, which name the commit and the hash of all inputs;
    manifests and configurations match their digests, and every blob is there. A nightly may have any number of its day.
    """
    for repository in repositories:
        one = wanted
        while digest := repository.digest(one.immutable_tag):
            with contextlib.suppress(ContentBroken, PlatformMissing):
                image = repository.image(digest)
                image.check_platforms(wanted.platforms)
                image.check_labels(wanted.labels)
                return repository.verify(digest)
            if wanted.channel is not Channel.NIGHTLY:
                break
            one = replace(one, night=one.night + 1)
    return None


def describe(title: str, steps: Sequence[Step]) -> list[str]:
    """Return the plan in words: a title, and one line per tag."""
    width = max(len(step.decision.tag) for step in steps)
    lines = [title]
    for step in steps:
        was = f" (now {step.now[:19]})" if step.now and step.state is not TagState.UNCHANGED else ""
        lines.append(
            f"  {step.decision.tag:<{width}}  {step.decision.kind.value:<9}  "
            f"{step.state.value}{was}: {step.decision.reason}"
        )
    return lines


def check_free(target: Target, steps: Sequence[Step], digest: str) -> None:
    """Raise ``TagTaken`` if an immutable tag names something else than ``digest``."""
    for step in steps:
        if step.state is TagState.TAKEN:
            message = (
                f"{target}:{step.decision.tag} is {step.now} and stays that, this build is {digest}; "
                "publish it as a new revision with --revision 2 or higher, or, to finish a release that was "
                f"interrupted, tag what is there with `inv promote {step.now}`"
            )
            raise TagTaken(message)
