"""Where a login may go, which way requests take, and what a registry without TLS is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.errors import RegistryRefused
from letta_stack.registry.credentials import Credentials
from letta_stack.registry.reference import Target
from letta_stack.registry.repository import Repository
from letta_stack.registry.retries import RetryPolicy
from letta_stack.registry.transport import Authorization, Transport, is_loopback
from tests.support.scripted import HOST, Script, answer
from tests.support.served import Answers, transport

if TYPE_CHECKING:
    from collections.abc import Callable

UPLOAD = "/v2/letta/letta/blobs/uploads/1"
BASIC = {"WWW_Authenticate": 'Basic realm="x"'}
LOGIN = Credentials("user", "word")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.9.9.9:80", True),
        ("[::1]:5000", True),
        ("192.168.0.1:5000", False),
        ("localhost.example", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def logins_in_clear(script: Script) -> list[str]:
    return [url for _, url, login in script.asked if login and not url.startswith("https://")]


@pytest.mark.parametrize("port", ["", ":80", ":5000"])
def test_a_proxy_that_ends_tls_does_not_make_the_login_leave_in_clear(
    port: str, play: Callable[..., tuple[Repository, Script]]
) -> None:
    location = f"http://{HOST}{port}{UPLOAD}?state=x"
    repository, script = play(
        answer(401, **BASIC), answer(202, Location=location), answer(204), login=LOGIN
    )

    with repository:
        repository.check_writable()

    assert not logins_in_clear(script)
    assert script.asked[-1][:2] == ("DELETE", f"https://{HOST}{UPLOAD}?state=x")
    assert script.asked[-1][2]


def test_another_host_without_tls_is_refused_or_allowed_by_name(
    play: Callable[..., tuple[Repository, Script]],
) -> None:
    upload = answer(202, Location="http://storage.example:9000/here")
    repository, script = play(answer(401, **BASIC), upload, login=LOGIN)

    with repository, pytest.raises(RegistryRefused, match=r"--plain-http storage\.example:9000"):
        repository.check_writable()
    assert len(script.asked) == 2

    repository, script = play(
        answer(401, **BASIC), upload, answer(204), plain_http=["storage.example:9000"], login=LOGIN
    )
    with repository:
        repository.check_writable()
    assert not logins_in_clear(script)


def test_the_next_page_of_tags_keeps_tls(
    play: Callable[..., tuple[Repository, Script]],
) -> None:
    link = f'<http://{HOST}/v2/letta/letta/tags/list?last=a>; rel="next"'
    repository, script = play(
        answer(401, **BASIC),
        answer(body={"tags": ["a"]}, Link=link),
        answer(body={"tags": ["b"]}),
        login=LOGIN,
    )

    with repository:
        assert repository.tags() == ["a", "b"]
    assert not logins_in_clear(script)
    assert script.asked[-1][2]


def test_a_redirect_from_tls_to_plain_http_is_not_followed(
    served: Callable[..., Answers],
) -> None:
    one = transport()
    answers = served(start="http://elsewhere.example/end")

    with pytest.raises(RegistryRefused, match=r"--plain-http elsewhere\.example"):
        one.request("POST", f"https://{HOST}/start", data={"refresh_token": "secret"})

    assert len(answers.seen) == 1


@pytest.mark.parametrize(
    ("url", "own"),
    [
        (f"https://{HOST}/x", True),
        (f"http://{HOST}/x", False),
        (f"https://{HOST}:5000/x", False),
        ("https://other.example/x", False),
    ],
)
def test_only_the_same_scheme_host_and_port_see_the_login(url: str, own: bool) -> None:
    assert transport().is_own(url) is own


def test_requests_say_who_asks_and_keep_to_their_limits(served: Callable[..., Answers]) -> None:
    one = transport(policy=RetryPolicy(connect_timeout=2.0, read_timeout=3.0))
    answers = served()

    one.request("GET", f"https://{HOST}/v2/", headers={"Accept": "x"})

    (options,) = answers.options
    assert options["timeout"] == (2.0, 3.0)
    (headers,) = answers.headers
    assert (headers["User-Agent"], headers["Accept"]) == ("letta-stack", "x")


def test_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(requests.Session, "close", lambda _: closed.append(True))

    with Repository(Target(HOST, "letta/letta")) as repository:
        assert closed == []
        assert str(repository.target) == f"{HOST}/letta/letta"

    assert len(closed) == 1


def test_an_authorization_is_the_header_that_was_given_and_no_other() -> None:
    request = requests.Request("GET", f"https://{HOST}/").prepare()

    assert "Authorization" not in Authorization()(request).headers
    assert Authorization("Bearer t")(request).headers["Authorization"] == "Bearer t"


@pytest.mark.parametrize(("registry", "api"), [("docker.io", "registry-1.docker.io"), (HOST, HOST)])
def test_docker_hub_is_asked_under_another_name(registry: str, api: str) -> None:
    target = Target(registry, "letta/letta")
    one = Transport(target, ca=None, plain_http=(), policy=RetryPolicy())

    assert one.base_url() == f"https://{api}"


def test_what_a_registry_speaks_is_asked_once(served: Callable[..., Answers]) -> None:
    one = transport(plain_http=[HOST])
    answers = served()

    assert [one.base_url(), one.base_url()] == [f"http://{HOST}"] * 2
    assert [url for url, _ in answers.seen] == [f"http://{HOST}/v2/"]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/x", f"https://{HOST}/v2/x"),
        ("x?a=b", f"https://{HOST}/v2/x?a=b"),
        (f"http://{HOST}:5000/v2/x", f"https://{HOST}/v2/x"),
        ("https://storage.example/x", "https://storage.example/x"),
        ("http://localhost:9000/x", "http://localhost:9000/x"),
    ],
)
def test_the_next_url_is_relative_to_the_one_before_and_keeps_tls(
    location: str, expected: str
) -> None:
    before = answer(url=f"https://{HOST}/v2/start")

    assert transport().resolve(before, location) == expected


def test_a_registry_without_tls_may_lead_to_others_without(
    served: Callable[..., Answers],
) -> None:
    one = transport(plain_http=[HOST])
    served()
    before = answer(url=f"http://{HOST}/v2/start")

    assert one.resolve(before, "http://other.example/x") == "http://other.example/x"


def test_a_token_server_on_this_machine_may_be_plain() -> None:
    one = transport(plain_http=["lan.example:5000"])

    assert one.may_be_plain("http://localhost:9000/t")
    assert one.may_be_plain("http://lan.example:5000/t")
    assert not one.may_be_plain("http://lan.example/t")
