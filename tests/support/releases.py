"""A release for a registry in memory: what is wanted, and who publishes it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from letta_stack.registry.reference import Target
from letta_stack.registry.retries import RetryPolicy
from letta_stack.release import tags
from letta_stack.release.plan import Wanted
from letta_stack.release.publisher import Publisher
from letta_stack.release.tags import Channel

if TYPE_CHECKING:
    from pathlib import Path

A, B = Target("a.example", "letta/letta"), Target("b.example", "letta/letta")
PLATFORMS = ("linux/amd64", "linux/arm64")
LABELS = {"org.opencontainers.image.version": "0.16.8", "letta-stack.inputs": "abc"}
WANTED = Wanted(
    channel=Channel.RELEASE,
    version=tags.parse_version("0.16.8"),
    commit="0123456789abcdef",
    day=dt.date(2026, 11, 24),
    platforms=PLATFORMS,
    labels=LABELS,
)
NIGHTLY = replace(WANTED, channel=Channel.NIGHTLY)
NAMES = ("0.16.8", "0.16", "latest")
QUICK = RetryPolicy(attempts=2, first_wait=0.0, longest_wait=0.0)


def publisher(
    *targets: Target, wanted: Wanted = WANTED, lines: list[str] | None = None, **options: object
) -> Publisher:
    """Return what publishes ``wanted``, and says so to ``lines``."""
    say = (lambda _: None) if lines is None else lines.append
    return Publisher(wanted, targets or (A,), say, policy=QUICK, **options)  # type: ignore[arg-type]


def no_build(_: Path) -> None:
    """Stand for a build that must not happen."""
    pytest.fail("nothing was to be built")
