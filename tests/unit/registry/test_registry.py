"""What answers mean. How a registry really behaves is for tests/release."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import requests

from letta_stack.errors import (
    ContentBroken,
    RegistryDenied,
    RegistryFull,
    RegistryReadOnly,
    RegistryRefused,
    RegistryUnreachable,
)
from letta_stack.registry import credentials, oci
from letta_stack.registry.credentials import Credentials
from letta_stack.registry.reference import Target
from letta_stack.registry.repository import Repository
from letta_stack.registry.retries import RetryPolicy
from letta_stack.registry.transport import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "registry.example"
Play: TypeAlias = "Callable[..., tuple[Repository, Script]]"
QUICK = RetryPolicy(attempts=3, first_wait=0.0, longest_wait=0.0)


def answer(
    status: int = 200, body: object = None, *, url: str = "", **headers: str
) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response.raw = io.BytesIO(content)
    response.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
    response.url = url
    response.request = requests.Request("GET", url).prepare() if url else requests.PreparedRequest()
    return response


class Script:
    """Answers requests in order and remembers them."""

    def __init__(self, *answers: requests.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, str]] = []

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        prepared = options["auth"](requests.Request(method, url).prepare())
        self.asked.append((method, url, prepared.headers.get("Authorization", "")))
        item = self.answers.pop(0)
        if isinstance(item, Exception):
            raise item
        item.url = item.url or url
        item.request = requests.Request(method, url).prepare()
        return item


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Repository, Script]]:
    monkeypatch.setattr(credentials, "find", lambda _: None)

    def start(*answers: requests.Response | Exception) -> tuple[Repository, Script]:
        script = Script(*answers)
        monkeypatch.setattr(requests.Session, "request", script.request)
        return Repository(Target(HOST, "letta/letta"), policy=QUICK), script

    return start


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


def test_every_page_of_tags_is_read(play: Play) -> None:
    link = '</v2/letta/letta/tags/list?last=a&n=1>; rel="next"'
    registry, script = play(answer(body={"tags": ["a"]}, Link=link), answer(body={"tags": ["b"]}))

    with registry:
        assert registry.tags() == ["a", "b"]
    assert script.asked[1][1] == f"https://{HOST}/v2/letta/letta/tags/list?last=a&n=1"


@pytest.mark.parametrize("body", [{"name": "x", "tags": None}, {"name": "x"}])
def test_a_repository_without_tags_has_none(body: object, play: Play) -> None:
    registry, _ = play(answer(body=body))

    with registry:
        assert registry.tags() == []


def test_only_a_404_is_a_no(play: Play) -> None:
    registry, _ = play(answer(404), answer(503), answer(503), answer(503))

    with registry:
        assert registry.digest("latest") is None
        with pytest.raises(RegistryUnreachable, match="503"):
            registry.digest("latest")


def test_a_registry_that_gives_no_digest_is_asked_for_the_manifest(play: Play) -> None:
    body = b'{"manifests": []}'
    registry, script = play(answer(), answer(body=body, Content_Type=oci.INDEX_TYPE))

    with registry:
        assert registry.digest("latest") == oci.sha256(body)
    assert [method for method, *_ in script.asked] == ["HEAD", "GET"]


def test_a_manifest_that_does_not_fit_its_digest_is_read_again(play: Play) -> None:
    good = b'{"manifests": []}'
    registry, _ = play(answer(body=b"{}"), answer(body=good))

    with registry:
        assert registry.manifest(oci.sha256(good)).body == good


def test_a_blob_with_another_size_is_named(play: Play) -> None:
    config = oci.Descriptor("x", "sha256:" + "c" * 64, 5)
    body = json.dumps({"config": config.to_json(), "layers": []}).encode()
    manifest = answer(body=body, Content_Type=oci.IMAGE_TYPES[0])
    registry, _ = play(manifest, answer(Content_Length="4"))

    with registry, pytest.raises(ContentBroken, match="has 4 bytes and should have 5"):
        registry.verify(oci.sha256(body))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (403, {"errors": [{"code": "DENIED", "message": "no"}]}, RegistryDenied),
        (405, {"errors": [{"code": "UNSUPPORTED", "message": "x"}]}, RegistryReadOnly),
        (500, {"errors": [{"code": "UNKNOWN", "detail": {"Err": 30}}]}, RegistryReadOnly),
        (500, {"errors": [{"code": "UNKNOWN", "detail": {"Err": 28}}]}, RegistryFull),
        (507, "", RegistryFull),
        (400, {"errors": [{"code": "NAME_INVALID", "message": "x"}]}, RegistryRefused),
    ],
)
def test_what_a_failure_means(
    status: int, body: object, error: type[Exception], play: Play
) -> None:
    compact = json.dumps(body, separators=(",", ":")).encode()
    registry, script = play(answer(status, compact))

    with registry, pytest.raises(error, match=HOST):
        registry.check_writable()
    assert len(script.asked) == 1


def test_a_login_goes_to_its_own_registry_only(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "find", lambda _: Credentials("user", "word"))
    elsewhere = "https://uploads.example/here"
    registry, script = play(
        answer(401, WWW_Authenticate='Basic realm="x"'),
        answer(202, Location=elsewhere),
        answer(204),
    )

    with registry:
        registry.check_writable()

    assert [bool(login) for *_, login in script.asked] == [False, True, False]
    assert script.asked[-1][:2] == ("DELETE", elsewhere)


def test_a_login_is_not_sent_in_the_clear(play: Play) -> None:
    challenge = 'Bearer realm="http://tokens.example/token",service="x",scope="y"'
    registry, script = play(answer(401, WWW_Authenticate=challenge))

    with registry, pytest.raises(RegistryRefused, match="without TLS"):
        registry.tags()
    assert len(script.asked) == 1


def test_a_refresh_token_is_exchanged(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "find", lambda _: Credentials("", "", "refresh"))
    challenge = 'Bearer realm="https://tokens.example/token",service="x",scope="y"'
    registry, script = play(
        answer(401, WWW_Authenticate=challenge),
        answer(body={"access_token": "t"}),
        answer(body={"tags": ["a"]}),
    )

    with registry:
        assert registry.tags() == ["a"]
    assert script.asked[1][0] == "POST"
    assert script.asked[2][2] == "Bearer t"


@pytest.mark.parametrize(
    "headers",
    [{"Retry_After": "0"}, {"Retry_After": "Tue, 24 Nov 2026 00:00:00 GMT", "Date": "Tue, 24 Nov 2026 00:00:00 GMT"}, {"Retry_After": "soon"}, {}],
    ids=["seconds", "date", "nonsense", "none"],
)  # fmt: skip
def test_retry_after_in_all_its_forms(headers: dict[str, str], play: Play) -> None:
    registry, script = play(answer(429, **headers), answer(body={"tags": []}))

    with registry:
        assert registry.tags() == []
    assert len(script.asked) == 2


def test_hours_are_not_waited_for(play: Play) -> None:
    date = {"Retry_After": "Tue, 24 Nov 2026 06:00:00 GMT", "Date": "Tue, 24 Nov 2026 00:00:00 GMT"}
    registry, script = play(answer(429, **date))

    with registry, pytest.raises(RegistryUnreachable, match="asks to wait 21600 s"):
        registry.tags()
    assert len(script.asked) == 1
