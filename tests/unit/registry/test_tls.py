"""What is told about a registry that fails at TLS, and which one is asked for plain HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from letta_stack.errors import RegistryUnreachable
from letta_stack.registry.credentials import Credentials
from tests.support.scripted import HOST, Script, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.registry.repository import Repository

LOGIN = Credentials("user", "word")
WRONG_VERSION = requests.exceptions.SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version number")
UNKNOWN_CA = requests.exceptions.SSLError("certificate verify failed: unable to get local issuer")


@pytest.mark.parametrize("status", [200, 401])
def test_a_registry_without_tls_is_named_as_one(
    status: int, play: Callable[..., tuple[Repository, Script]]
) -> None:
    repository, script = play(WRONG_VERSION, answer(status))

    with (
        repository,
        pytest.raises(RegistryUnreachable, match=f"speaks plain HTTP.*--plain-http {HOST}"),
    ):
        repository.tags()
    assert script.asked[-1] == ("GET", f"http://{HOST}/v2/", "")
    assert script.options[-1]["timeout"] == (2.0, 3.0)
    assert script.options[-1]["allow_redirects"] is False


@pytest.mark.parametrize(
    "answers",
    [
        (UNKNOWN_CA,),
        (WRONG_VERSION, answer(400)),
        (WRONG_VERSION, answer(301)),
        (WRONG_VERSION, requests.ConnectionError()),
    ],
)
def test_other_failures_of_tls_name_the_ca(
    answers: tuple[Any, ...], play: Callable[..., tuple[Repository, Script]]
) -> None:
    repository, script = play(*answers)

    with repository, pytest.raises(RegistryUnreachable, match=r"TLS failed \(.*--ca"):
        repository.tags()
    assert len(script.asked) == len(answers)


@pytest.mark.parametrize(("status", "scheme"), [(200, "http"), (401, "http"), (400, "https")])
def test_a_registry_that_may_be_plain_is_asked_what_it_speaks(
    status: int, scheme: str, play: Callable[..., tuple[Repository, Script]]
) -> None:
    repository, script = play(answer(status), answer(body={"tags": ["a"]}), plain_http=[HOST])

    with repository:
        assert repository.tags() == ["a"]
    assert script.asked[0] == ("GET", f"http://{HOST}/v2/", "")
    assert script.asked[1][1].startswith(f"{scheme}://{HOST}/v2/letta/letta/")


def test_a_registry_that_may_be_plain_and_is_ill_is_asked_again(
    play: Callable[..., tuple[Repository, Script]],
) -> None:
    repository, script = play(
        answer(503), answer(200), answer(body={"tags": []}), plain_http=[HOST]
    )

    with repository:
        assert repository.tags() == []
    assert len(script.asked) == 3


def test_a_token_server_without_tls_is_allowed_by_name(
    play: Callable[..., tuple[Repository, Script]],
) -> None:
    challenge = 'Bearer realm="http://tokens.example/token",service="x",scope="y"'
    repository, _ = play(
        answer(401, WWW_Authenticate=challenge),
        answer(body={"token": "t"}),
        answer(body={"tags": []}),
        plain_http=["tokens.example"],
        login=LOGIN,
    )

    with repository:
        assert repository.tags() == []
