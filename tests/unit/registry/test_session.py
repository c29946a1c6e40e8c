"""How a login is asked for, fetched, sent and refused."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.errors import RegistryDenied, RegistryRefused, RegistryUnreachable
from letta_stack.registry import oci
from letta_stack.registry.credentials import Credentials
from letta_stack.registry.session import Body
from tests.support.layouts import Memory
from tests.support.scripted import HOST, answer, tags, wants

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.registry.repository import Repository
    from tests.support.scripted import Script

    Play = Callable[..., tuple[Repository, Script]]

LOGIN = Credentials("user", "pass:word")
BASIC = f"Basic {base64.b64encode(b'user:pass:word').decode()}"


def test_a_password_is_sent_once_it_is_asked_for(play: Play) -> None:
    repository, script = play(wants('BASIC realm="x"'), tags("a"), tags("b"), login=LOGIN)

    with repository:
        assert repository.tags() == ["a"]
        assert repository.tags() == ["b"]
    assert [login for *_, login in script.asked] == ["", BASIC, BASIC]


def test_a_password_that_is_wrong_is_sent_once(play: Play) -> None:
    refusals = [wants("Basic x"), wants("Basic x"), wants("Basic x")]
    repository, script = play(*refusals, login=LOGIN)

    with repository, pytest.raises(RegistryDenied, match=f"{HOST} refuses .*docker login {HOST}"):
        repository.tags()
    with repository, pytest.raises(RegistryDenied, match="rejects the stored login"):
        repository.tags()
    assert [login for *_, login in script.asked] == ["", BASIC, BASIC]


@pytest.mark.parametrize("login", [None, Credentials("", "", "token")])
def test_without_a_password_a_login_is_missing(login: Credentials | None, play: Play) -> None:
    repository, script = play(wants("Basic x"), login=login)

    with repository, pytest.raises(RegistryDenied, match="wants a login, and none is stored"):
        repository.tags()
    assert len(script.asked) == 1


@pytest.mark.parametrize(("challenge", "kind"), [("Negotiate abc", "'Negotiate'"), ("", "''")])
def test_a_kind_of_login_that_nobody_knows_is_named(challenge: str, kind: str, play: Play) -> None:
    repository, _ = play(wants(challenge), login=LOGIN)

    with repository, pytest.raises(RegistryRefused, match=f"unknown kind of login: {kind}"):
        repository.tags()


def test_a_401_that_says_no_kind_is_refused(play: Play) -> None:
    repository, _ = play(answer(401), login=LOGIN)

    with repository, pytest.raises(RegistryRefused, match="unknown kind of login: ''"):
        repository.tags()


def test_a_request_is_the_same_after_the_login(play: Play) -> None:
    repository, script = play(wants("Basic x"), answer(404), login=LOGIN)

    with repository:
        assert repository.digest("latest") is None

    first, second = script.options
    assert first["headers"] == second["headers"]
    assert "Accept" in second["headers"]
    assert script.asked[0][:2] == script.asked[1][:2]


def test_a_blob_is_a_stream_after_the_login_too(play: Play) -> None:
    repository, script = play(wants("Basic x"), answer(body=b"x"), login=LOGIN)

    with repository:
        repository.open_blob(oci.Descriptor("x", oci.sha256(b"x"), 1))

    assert [options["stream"] for options in script.options] == [True, True]


def test_every_step_of_an_upload_may_write(play: Play) -> None:
    content = Memory()
    blob = oci.Descriptor.from_json(content.add(b"content"))
    repository, script = play(
        answer(404),
        wants("Basic x"),
        answer(202, Location="/v2/letta/letta/blobs/uploads/1"),
        answer(201),
        login=LOGIN,
    )

    with repository:
        repository.put_blob(blob, content)

    assert [(method, login) for method, _, login in script.asked] == [
        ("HEAD", ""),
        ("POST", ""),
        ("POST", BASIC),
        ("PUT", BASIC),
    ]


def test_a_request_is_limited_in_time_and_follows_redirects(play: Play) -> None:
    repository, script = play(tags())

    with repository:
        repository.tags()
    assert script.options[0]["allow_redirects"] is True
    assert script.options[0]["timeout"] == (2.0, 3.0)


def test_what_is_uploaded_has_a_known_length() -> None:
    stream = io.BytesIO(b"content")
    request = requests.Request("PUT", "https://x.example/", data=Body(stream, 7)).prepare()

    assert request.headers["Content-Length"] == "7"
    assert "Transfer-Encoding" not in request.headers
    assert Body(stream, 7).read(3) == b"con"
    assert list(Body(stream, 7)) == [b"tent"]
    stream.seek(0)
    assert Body(stream, 7).read() == b"content"


def test_an_unanswered_registry_is_named(play: Play) -> None:
    down = requests.ConnectionError("no route to host")
    repository, script = play(down, down, down)

    with repository, pytest.raises(RegistryUnreachable, match=rf"{HOST} gave .*no route to host"):
        repository.tags()
    assert len(script.asked) == 3
