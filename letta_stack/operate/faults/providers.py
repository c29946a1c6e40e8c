"""The provider of language models misbehaves; what needs no model must not notice."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from letta_stack.operate.faults.model import READ, Expect, Fault
from letta_stack.operate.faults.stack import docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from letta_stack.operate.faults.scene import Scene

EXPECT = Expect(healthy=10, unaffected=(READ,))


def misbehaves(mode: str) -> Callable[[Scene], AbstractContextManager[None]]:
    """Let the scripted model misbehave in one of its ways."""

    @contextlib.contextmanager
    def act(scene: Scene) -> Iterator[None]:
        try:
            scene.note(f"the provider's mode is {mode!r}")
            scene.model.behave(mode)
            yield
        finally:
            scene.model.behave()

    return act


@contextlib.contextmanager
def hangs(scene: Scene) -> Iterator[None]:
    """Let the model never answer; who waits is let go by a restart of the model."""
    try:
        scene.model.behave("hang")
        yield
    finally:
        scene.model.behave()
        docker("restart", "--time", "0", scene.model.container)


@contextlib.contextmanager
def gone(scene: Scene) -> Iterator[None]:
    """Stop the model: its name is gone from the DNS as well."""
    try:
        docker("kill", scene.model.container)
        yield
    finally:
        docker("start", scene.model.container)


FAULTS = (
    Fault(
        "provider-hangs",
        "the provider takes requests and never answers, for 15 s",
        hangs,
        undo="it closes its connections and works",
        seconds=15,
        expect=EXPECT,
    ),
    Fault(
        "provider-429",
        "the provider refuses with 429 for 10 s",
        misbehaves("limit"),
        undo="it answers",
        seconds=10,
        expect=EXPECT,
    ),
    Fault(
        "provider-breaks-off",
        "the provider closes the connection in the middle of its answers for 10 s",
        misbehaves("break"),
        undo="it answers",
        seconds=10,
        expect=EXPECT,
    ),
    Fault(
        "provider-500",
        "the provider fails with 500 for 10 s",
        misbehaves("fail"),
        undo="it answers",
        seconds=10,
        expect=EXPECT,
    ),
    Fault(
        "provider-gone",
        "the provider's name and address are gone for 10 s",
        gone,
        undo="docker start",
        seconds=10,
        expect=EXPECT,
    ),
)
