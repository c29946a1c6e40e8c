"""What is written to a repository, and how it is read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from letta_stack.errors import RegistryUnreachable, TagTaken
from letta_stack.registry import oci
from letta_stack.registry.credentials import Credentials
from letta_stack.registry.repository import LARGE_BLOB, Traffic
from tests.support.layouts import Memory
from tests.support.scripted import HOST, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.registry.repository import Repository
    from tests.support.scripted import Script

    Play = Callable[..., tuple[Repository, Script]]

BASE = f"https://{HOST}/v2/letta/letta"
BLOB = oci.Descriptor("x", oci.sha256(b"content"), 7)
CONTENT = Memory({BLOB.digest: b"content"})
INDEX = oci.Manifest(b'{"manifests": []}', oci.INDEX_TYPE)
OTHER = "sha256:" + "f" * 64
STARTED = f"{BASE}/blobs/uploads/1"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/v2/letta/letta/blobs/uploads/1", f"{STARTED}?digest={BLOB.digest}"),
        (f"{STARTED}?state=a", f"{STARTED}?state=a&digest={BLOB.digest}"),
    ],
)
def test_a_blob_is_uploaded_where_the_registry_says(location: str, url: str, play: Play) -> None:
    repository, script = play(answer(404), answer(202, Location=location), answer(201))

    with repository:
        repository.put_blob(BLOB, CONTENT)

    assert [one[:2] for one in script.asked] == [
        ("HEAD", f"{BASE}/blobs/{BLOB.digest}"),
        ("POST", f"{BASE}/blobs/uploads/"),
        ("PUT", url),
    ]
    assert script.options[2]["data"] == b"content"
    assert script.options[2]["headers"] == {"Content-Type": "application/octet-stream"}
    assert repository.traffic == Traffic(uploaded=1, uploaded_bytes=7)


def test_what_is_there_is_not_uploaded_again(play: Play) -> None:
    repository, script = play(answer(Content_Length="7"))

    with repository:
        repository.put_blob(BLOB, CONTENT)

    assert len(script.asked) == 1
    assert repository.traffic == Traffic(present=1, present_bytes=7)


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(lambda: answer(404), id="forgotten"),
        pytest.param(lambda: answer(502), id="broken off"),
        pytest.param(lambda: answer(401, WWW_Authenticate="Basic x"), id="login ended"),
    ],
)
def test_an_upload_that_broke_off_is_begun_anew(
    failure: Callable[[], requests.Response], play: Play
) -> None:
    begin = [answer(404), answer(202, Location=STARTED)]
    again = [answer(404), answer(202, Location=STARTED), answer(201)]
    login = Credentials("user", "word")
    repository, script = play(*begin, failure(), *again, login=login)

    with repository:
        repository.put_blob(BLOB, CONTENT)

    assert [one[0] for one in script.asked] == ["HEAD", "POST", "PUT"] * 2
    assert script.options[-1]["data"] == b"content"
    assert repository.traffic == Traffic(uploaded=1, uploaded_bytes=7)


@pytest.mark.parametrize(("size", "said"), [(LARGE_BLOB - 1, 0), (LARGE_BLOB, 1)])
def test_only_a_large_upload_is_announced(size: int, said: int, play: Play) -> None:
    lines: list[str] = []
    begin = [answer(404), answer(202, Location=STARTED), answer(201)]
    repository, _ = play(*begin, say=lines.append)

    with repository:
        repository.put_blob(oci.Descriptor("x", BLOB.digest, size), CONTENT)

    assert lines == [f"{HOST}/letta/letta: uploading 10 MB"] * said


@pytest.mark.parametrize("reference", ["latest", INDEX.digest])
def test_a_manifest_is_written_with_its_type(reference: str, play: Play) -> None:
    named = [] if reference == INDEX.digest else [answer(Docker_Content_Digest=INDEX.digest)]
    repository, script = play(answer(201), *named)

    with repository:
        repository.put_manifest(reference, INDEX)

    assert script.asked[0][:2] == ("PUT", f"{BASE}/manifests/{reference}")
    assert script.options[0]["data"] == INDEX.body
    assert script.options[0]["headers"] == {"Content-Type": oci.INDEX_TYPE}
    assert not script.answers


def test_a_tag_that_names_something_else_after_it_was_written_is_taken(play: Play) -> None:
    repository, _ = play(answer(201), answer(Docker_Content_Digest=OTHER))

    with repository, pytest.raises(TagTaken, match=f"letta:latest names {OTHER} just after"):
        repository.put_manifest("latest", INDEX)


def test_a_cancelled_upload_that_cannot_be_cancelled_is_no_failure(play: Play) -> None:
    repository, script = play(answer(202, Location=STARTED), requests.ConnectionError("down"))

    with repository:
        repository.check_writable()
    assert [one[:2] for one in script.asked] == [
        ("POST", f"{BASE}/blobs/uploads/"),
        ("DELETE", STARTED),
    ]
    assert script.options[0]["data"] == b""


def test_attempts_end(play: Play) -> None:
    lines: list[str] = []
    repository, _ = play(answer(503), answer(503), answer(503), say=lines.append)

    with repository, pytest.raises(RegistryUnreachable, match="503"):
        repository.put_manifest("latest", INDEX)
    assert len(lines) == 2
