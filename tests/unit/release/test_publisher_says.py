"""What the user reads of a push and before it; against a registry in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.errors import (
    RegistryDenied,
)
from letta_stack.registry import credentials
from letta_stack.registry.repository import Repository
from tests.support.releases import (
    NAMES,
    A,
    B,
    publisher,
)
from tests.support.scripted import answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.memory_registry import MemoryRegistry

    Built = Callable[..., Callable[[Path], None]]


def test_a_preview_writes_nothing(registry: MemoryRegistry) -> None:
    lines: list[str] = []

    publisher(A, B, lines=lines).preview()

    assert registry.writes == []
    assert [line.split()[0] for line in lines] == [str(A), *NAMES, str(B), *NAMES]


def test_a_preview_of_what_cannot_be_read_says_that_a_push_may_make_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    denied = answer(401, WWW_Authenticate='Basic realm="x"')
    monkeypatch.setattr(credentials, "find", lambda _: None)
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: denied)

    with pytest.raises(
        RegistryDenied, match=r"docker login.*if it does not exist yet, only a push"
    ):
        publisher().preview()


def test_a_preview_compares_with_what_is_there(registry: MemoryRegistry, built: Built) -> None:
    digest = publisher().push(built(), needed_bytes=0)
    lines: list[str] = []

    publisher(lines=lines).preview()

    now = f"(now {digest[:19]})"
    assert lines == [
        str(A),
        f"  0.16.8  immutable  exists, must get the same digest {now}: names this image for good",
        f"  0.16    floating   moves {now}: 0.16.8 is the highest final version of its series",
        f"  latest  floating   moves {now}: 0.16.8 is the highest final version",
    ]


def test_what_is_being_done_is_said(registry: MemoryRegistry, built: Built) -> None:
    lines: list[str] = []

    digest = publisher(lines=lines).push(built(), needed_bytes=0)

    assert lines == [
        str(A),
        "  0.16.8  immutable  new: names this image for good",
        "  0.16    floating   new: 0.16.8 is the highest final version of its series",
        "  latest  floating   new: 0.16.8 is the highest final version",
        f"image {digest} (linux/amd64, linux/arm64)",
        f"{A}: content verified; 4 blobs uploaded (0.0 MB), 0 were there (0.0 MB)",
        *(f"{A}:{tag} new" for tag in NAMES),
    ]


def test_megabytes_are_counted_by_the_million(
    registry: MemoryRegistry, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []

    def put(self: Repository, *_: object) -> None:
        self.traffic.uploaded_bytes += 1_500_000
        self.traffic.present_bytes += 1_000_000

    monkeypatch.setattr(Repository, "put_blob", put)
    monkeypatch.setattr(Repository, "put_manifest", lambda *_: None)
    monkeypatch.setattr(Repository, "verify", lambda *_: None)

    publisher(lines=lines).push(built(), needed_bytes=0)

    assert f"{A}: content verified; 0 blobs uploaded (6.0 MB), 0 were there (4.0 MB)" in lines
