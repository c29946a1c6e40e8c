"""The grammar of image references: registry, repository, tag.

Source: https://github.com/distribution/reference, and the distribution specification for tags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.errors import BadReference

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_REPOSITORY = 255
DOCKER_HUB = "docker.io"
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?::[0-9]{1,5})?|\[[0-9a-f:]+\](?::[0-9]{1,5})?"
)


def check_tag(tag: str) -> str:
    """Return a legal tag; registries answer others with a page that explains nothing."""
    if TAG.fullmatch(tag) is None:
        message = (
            f"{tag!r} cannot be a tag; use at most 128 of letters, digits, `.`, `_` and `-`, "
            "and none of `.` and `-` in front"
        )
        raise BadReference(message)
    return tag


@dataclass(frozen=True)
class Target:
    """A repository in a registry."""

    registry: str
    repository: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}"


def parse_targets(registries: Collection[str], repositories: Collection[str]) -> list[Target]:
    """Combine registries and repositories; a repository that names its registry itself stands alone.

    A first part with a dot, a colon or the name localhost is a registry, as in every image reference.
    """
    targets: list[Target] = []
    for text in repositories:
        first, slash, rest = text.partition("/")
        if slash and (first == "localhost" or set(first) & {".", ":"}):
            targets.append(_check_target(Target(first, rest)))
        else:
            targets += [
                _check_target(Target(registry, text)) for registry in registries or [DOCKER_HUB]
            ]
    return list(dict.fromkeys(targets))


def check_host(host: str) -> None:
    """Raise ``BadReference`` unless ``host`` is ``HOST`` or ``HOST:PORT``."""
    if HOST.fullmatch(host) is None:
        message = f"{host!r} cannot be a registry; give HOST or HOST:PORT, without a scheme"
        raise BadReference(message)


def _check_target(target: Target) -> Target:
    check_host(target.registry)
    if len(target.repository) > MAX_REPOSITORY or REPOSITORY.fullmatch(target.repository) is None:
        message = (
            f"{target.repository!r} cannot be a repository; use lower-case letters and digits, with single "
            "`.`, `_`, `-` between them and `/` between parts, and no tag"
        )
        raise BadReference(message)
    if target.registry == DOCKER_HUB and "/" not in target.repository:
        return Target(target.registry, f"library/{target.repository}")
    return target
