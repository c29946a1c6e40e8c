"""What `inv tags` shows, with a repository to compare with and without one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from letta_stack.base import git
from letta_stack.base.git import Checkout
from letta_stack.errors import BadValue, BadVersion, DirtyTree, LettaCode
from letta_stack.registry import credentials
from letta_stack.registry.reference import Target
from letta_stack.release import push
from letta_stack.release.options import Options
from tests.support.memory_registry import MemoryRegistry

if TYPE_CHECKING:
    from letta_stack.release.publisher import Publisher

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "read", lambda _: Checkout(COMMIT, 1_700_000_000))


def test_tags_are_shown_as_if_nothing_were_published_without_a_repository() -> None:
    lines: list[str] = []

    push.show_tags(Options([], [], version="0.16.8"), ca=None, say=lines.append)

    assert lines[0] == "no --repository given: as if nothing were published"
    assert [line.split()[0] for line in lines[2:]] == ["0.16.8", "0.16", "latest"]


def first_tag(options: Options) -> str:
    lines: list[str] = []
    push.show_tags(options, ca=None, say=lines.append)
    assert lines[1] == "tags"
    return lines[2].split()[0]


def test_tags_of_every_channel_are_shown() -> None:
    today = dt.datetime.now(tz=dt.UTC).date()

    def tag(channel: str, revision: str = "0") -> str:
        return first_tag(Options([], [], version="0.16.8", channel=channel, revision=revision))

    assert tag("release") == "0.16.8"
    assert tag("release", "2") == "0.16.8-r2"
    assert tag("commit") == f"sha-{COMMIT[:12]}"
    nightly = tag("nightly")
    assert f"nightly-{today:%Y%m%d}" <= nightly <= f"nightly-{dt.datetime.now(tz=dt.UTC):%Y%m%d}"


def test_only_the_tag_of_a_commit_needs_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> Checkout:
        raise DirtyTree("no checkout")

    monkeypatch.setattr(git, "read", fail)

    assert first_tag(Options([], [], version="0.16.8")) == "0.16.8"
    with pytest.raises(DirtyTree):
        first_tag(Options([], [], version="0.16.8", channel="commit"))


@pytest.mark.parametrize(
    ("given", "error", "named"),
    [
        ({"channel": "stable"}, BadValue, "--channel "),
        ({"revision": "two"}, BadValue, "--revision "),
        ({"version": "0.17.0"}, LettaCode, "allow-letta-code"),
    ],
)
def test_tags_of_what_cannot_be_meant_are_refused(
    given: dict[str, str], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        first_tag(Options([], [], **{"version": "0.16.8", **given}))  # type: ignore[arg-type]


def test_tags_of_letta_code_are_shown_to_who_wants_them() -> None:
    assert first_tag(Options([], [], version="0.17.0", allow_letta_code=True)) == "0.17.0"


def test_a_repository_is_asked_with_what_the_user_said_about_it(
    published: list[tuple[str, Publisher, dict[str, Any]]],
) -> None:
    options = Options(
        [], ["a.example/x"], version="0.16.8", plain_http=["a.example"], allow_older=True
    )

    push.show_tags(options, ca=Path("ca.pem"), say=print)

    ((name, publisher, _),) = published
    assert name == "preview"
    assert publisher.wanted.allow_older
    assert (publisher.ca, publisher.plain_http) == (Path("ca.pem"), ["a.example"])
    assert publisher.targets == [Target("a.example", "x")]


def test_tags_are_shown_against_what_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "find", lambda _: None)
    monkeypatch.setattr(requests.Session, "request", MemoryRegistry().request)
    lines: list[str] = []

    options = Options([], ["a.example/letta/letta"], version="0.16.8-r2")
    push.show_tags(options, ca=None, say=lines.append)

    assert lines[0] == "a.example/letta/letta"
    assert lines[1].split()[0] == "0.16.8-r2"


def test_tags_of_a_version_that_is_none_are_refused() -> None:
    with pytest.raises(BadVersion):
        push.show_tags(Options([], [], version=""), ca=None, say=print)
