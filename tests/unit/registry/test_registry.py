"""What answers mean. How a registry really behaves is for tests/release."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

import pytest

from letta_stack.errors import (
    ContentBroken,
    RegistryDenied,
    RegistryFull,
    RegistryReadOnly,
    RegistryRefused,
    RegistryUnreachable,
)
from letta_stack.registry import oci
from letta_stack.registry.credentials import Credentials
from tests.support.scripted import HOST, Script, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from letta_stack.registry.repository import Repository

Play: TypeAlias = "Callable[..., tuple[Repository, Script]]"


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


def test_a_login_goes_to_its_own_registry_only(play: Play) -> None:
    elsewhere = "https://uploads.example/here"
    registry, script = play(
        answer(401, WWW_Authenticate='Basic realm="x"'),
        answer(202, Location=elsewhere),
        answer(204),
        login=Credentials("user", "word"),
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


def test_a_refresh_token_is_exchanged(play: Play) -> None:
    challenge = 'Bearer realm="https://tokens.example/token",service="x",scope="y"'
    registry, script = play(
        answer(401, WWW_Authenticate=challenge),
        answer(body={"access_token": "t"}),
        answer(body={"tags": ["a"]}),
        login=Credentials("", "", "refresh"),
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


def unknown(code: str) -> requests.Response:
    body = {"errors": [{"code": code, "message": "the repository does not exist"}]}
    return answer(404, body)


def test_a_registry_that_makes_no_repositories_says_to_create_it(play: Play) -> None:
    repository, _ = play(unknown("NAME_UNKNOWN"))

    with (
        repository,
        pytest.raises(RegistryRefused, match=r"has no repository letta/letta .*create it there"),
    ):
        repository.check_writable()


def test_a_server_that_knows_no_uploads_may_be_no_registry(play: Play) -> None:
    repository, _ = play(answer(404, b"<html>"))

    with repository, pytest.raises(RegistryRefused, match="is this a registry"):
        repository.check_writable()


DENIED = {"errors": [{"code": "UNAUTHORIZED", "message": "access denied"}]}
BEARER = {"WWW_Authenticate": 'Bearer realm="https://tokens.example/t",service="x",scope="y"'}


def refusal() -> list[requests.Response]:
    """Return how Quay answers a read of a repository that does not exist: a token, and again 401."""
    return [answer(401, DENIED, **BEARER), answer(body={"token": "t"}), answer(401, DENIED)]


def test_a_repository_that_may_be_written_and_not_read_does_not_exist_yet(play: Play) -> None:
    repository, _ = play(
        answer(401, **BEARER),
        answer(body={"token": "t"}),
        answer(202, Location="/v2/letta/letta/blobs/uploads/1"),
        answer(204),
        *refusal(),
        *refusal(),
        login=Credentials("user", "word"),
    )

    with repository:
        repository.check_writable()

        assert repository.tags() == []
        assert repository.digest("latest") is None


def test_a_repository_that_exists_and_cannot_be_read_is_a_matter_of_rights(play: Play) -> None:
    manifest = oci.Manifest(b"{}", oci.INDEX_TYPE)
    repository, _ = play(
        answer(202, Location="/v2/letta/letta/blobs/uploads/1"),
        answer(204),
        answer(201),
        *refusal(),
        login=Credentials("user", "word"),
    )

    with repository:
        repository.check_writable()
        repository.put_manifest(manifest.digest, manifest)

        with pytest.raises(RegistryDenied, match="docker login"):
            repository.digest("latest")


def test_a_repository_that_was_not_tried_and_cannot_be_read_is_a_matter_of_rights(
    play: Play,
) -> None:
    repository, _ = play(*refusal(), login=Credentials("user", "word"))

    with repository, pytest.raises(RegistryDenied, match="docker login"):
        repository.tags()
