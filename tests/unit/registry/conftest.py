from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.registry import credentials
from letta_stack.registry.reference import Target
from letta_stack.registry.repository import Repository
from letta_stack.registry.retries import RetryPolicy
from tests.support.scripted import HOST, Script
from tests.support.served import Answers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from letta_stack.registry.credentials import Credentials

QUICK = RetryPolicy(
    attempts=3, first_wait=0.0, longest_wait=0.0, connect_timeout=2.0, read_timeout=3.0
)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Repository, Script]]:
    """Give a repository whose registry answers from a list."""

    def start(
        *answers: requests.Response | Exception,
        plain_http: Sequence[str] = (),
        login: Credentials | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> tuple[Repository, Script]:
        monkeypatch.setattr(credentials, "find", lambda _: login)
        script = Script(*answers)
        monkeypatch.setattr(requests.Session, "request", script.request)
        target = Target(HOST, "letta/letta")
        return Repository(target, plain_http=plain_http, policy=QUICK, say=say), script

    return start


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answers]:
    """Put answers below redirects and proxies."""

    def serve(**locations: str) -> Answers:
        answers = Answers(**locations)
        monkeypatch.setattr(requests.Session, "get_adapter", lambda *_, **__: answers)
        return answers

    return serve
