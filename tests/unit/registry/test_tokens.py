"""How a bearer token is fetched, with which login, and for what."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import RegistryDenied, RegistryRefused
from letta_stack.registry import oci
from letta_stack.registry.credentials import Credentials
from tests.support.scripted import answer, tags, wants

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from letta_stack.registry.repository import Repository
    from tests.support.scripted import Script

    Play = Callable[..., tuple[Repository, Script]]

LOGIN = Credentials("user", "pass:word")
BASIC = f"Basic {base64.b64encode(b'user:pass:word').decode()}"
TOKENS = "https://tokens.example/token"


def bearer() -> requests.Response:
    return wants(f'bearer realm="{TOKENS}",service="registry, inc",scope="ignored"')


@pytest.mark.parametrize(("login", "sent"), [(LOGIN, BASIC), (None, "")])
@pytest.mark.parametrize("key", ["token", "access_token"])
def test_a_token_is_fetched_with_the_password_or_without(
    login: Credentials | None, sent: str, key: str, play: Play
) -> None:
    repository, script = play(bearer(), answer(body={key: "t"}), tags("a"), tags(), login=login)

    with repository:
        assert repository.tags() == ["a"]
        assert repository.tags() == []

    assert script.asked[1] == ("GET", TOKENS, sent)
    assert script.options[1]["params"] == {
        "service": "registry, inc",
        "scope": "repository:letta/letta:pull",
    }
    assert [login for *_, login in script.asked[2:]] == ["Bearer t", "Bearer t"]


def test_a_refresh_token_is_sent_in_a_form(play: Play) -> None:
    repository, script = play(
        bearer(), answer(body={"token": "t"}), tags(), login=Credentials("", "", "refresh")
    )

    with repository:
        repository.tags()

    assert script.asked[1] == ("POST", TOKENS, "")
    assert script.options[1]["data"] == {
        "grant_type": "refresh_token",
        "refresh_token": "refresh",
        "client_id": "letta-stack",
        "service": "registry, inc",
        "scope": "repository:letta/letta:pull",
    }


def test_writing_needs_a_token_of_its_own(play: Play) -> None:
    manifest = oci.Manifest(b"{}", oci.INDEX_TYPE)
    repository, script = play(
        bearer(),
        answer(body={"token": "reads"}),
        tags(),
        bearer(),
        answer(body={"token": "writes"}),
        answer(201),
        tags(),
    )

    with repository:
        repository.tags()
        repository.put_manifest(manifest.digest, manifest)
        repository.tags()

    assert script.options[4]["params"]["scope"] == "repository:letta/letta:pull,push"
    assert script.options[5]["data"] == b"{}"
    assert [login for *_, login in script.asked] == [
        *("", "", "Bearer reads"),
        *("", "", "Bearer writes"),
        "Bearer reads",
    ]


def test_a_challenge_may_say_as_little_as_where_tokens_are(play: Play) -> None:
    repository, script = play(
        wants(f'Bearer realm="{TOKENS}"'), answer(body={"token": "t"}), tags()
    )

    with repository:
        repository.tags()
    assert script.options[1]["params"]["service"] == ""


@pytest.mark.parametrize(
    ("challenge", "realm", "host"),
    [
        ("Bearer", "", "HOST"),
        ('Bearer realm=""', "", "HOST"),
        ('Bearer realm="http://tokens.example/t"', "http://tokens.example/t", "tokens.example"),
    ],
)
def test_a_login_goes_nowhere_without_tls(
    challenge: str, realm: str, host: str, play: Play
) -> None:
    repository, script = play(wants(challenge), login=LOGIN)

    with (
        repository,
        pytest.raises(RegistryRefused, match=f"without TLS, to '{realm}'.*--plain-http {host}"),
    ):
        repository.tags()
    assert len(script.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_server_that_refuses_is_a_matter_of_the_login(status: int, play: Play) -> None:
    repository, script = play(bearer(), answer(status), login=LOGIN)

    with repository, pytest.raises(RegistryDenied, match="rejects the stored login"):
        repository.tags()
    assert len(script.asked) == 2


@pytest.mark.parametrize(
    "damaged", [answer(body=b"<html>"), answer(body={}), answer(body=["token"]), answer(503)]
)
def test_a_token_that_did_not_arrive_is_asked_for_again(
    damaged: requests.Response, play: Play
) -> None:
    repository, script = play(bearer(), damaged, bearer(), answer(body={"token": "t"}), tags("a"))

    with repository:
        assert repository.tags() == ["a"]
    assert not script.answers


def test_a_token_server_that_rejects_the_request_is_refused(play: Play) -> None:
    repository, _ = play(bearer(), answer(400))

    with repository, pytest.raises(RegistryRefused, match="rejects GET /token"):
        repository.tags()


def test_a_token_that_does_not_help_is_no_reason_to_ask_for_ever(play: Play) -> None:
    repository, script = play(bearer(), answer(body={"token": "t"}), bearer(), login=LOGIN)

    with repository, pytest.raises(RegistryDenied, match="refuses"):
        repository.tags()
    assert not script.answers
