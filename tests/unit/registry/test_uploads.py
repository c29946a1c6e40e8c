"""What is written to a repository, and how it is read back."""

from __future__ import annotations

import gzip
import io
import json
from typing import IO, TYPE_CHECKING

import pytest
import requests
import urllib3

from letta_stack.errors import ContentBroken, RegistryUnreachable, TagTaken
from letta_stack.registry import oci
from letta_stack.registry.credentials import Credentials
from letta_stack.registry.repository import LARGE_BLOB, Traffic
from tests.support.scripted import HOST, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.registry.repository import Repository
    from tests.support.scripted import Script

    Play = Callable[..., tuple[Repository, Script]]

BASE = f"https://{HOST}/v2/letta/letta"
BLOB = oci.Descriptor("x", oci.sha256(b"content"), 7)
INDEX = oci.Manifest(b'{"manifests": []}', oci.INDEX_TYPE)
OTHER = "sha256:" + "f" * 64
STARTED = f"{BASE}/blobs/uploads/1"


class Content:
    """One blob."""

    def manifest(self, digest: str) -> oci.Manifest:
        raise NotImplementedError

    def read(self, blob: oci.Descriptor) -> bytes:
        raise NotImplementedError

    def open_blob(self, blob: oci.Descriptor) -> IO[bytes]:
        assert blob.digest == BLOB.digest
        return io.BytesIO(b"content")


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
        repository.put_blob(BLOB, Content())

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
        repository.put_blob(BLOB, Content())

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
        repository.put_blob(BLOB, Content())

    assert [one[0] for one in script.asked] == ["HEAD", "POST", "PUT"] * 2
    assert script.options[-1]["data"] == b"content"
    assert repository.traffic == Traffic(uploaded=1, uploaded_bytes=7)


@pytest.mark.parametrize(("size", "said"), [(LARGE_BLOB - 1, 0), (LARGE_BLOB, 1)])
def test_only_a_large_upload_is_announced(size: int, said: int, play: Play) -> None:
    lines: list[str] = []
    begin = [answer(404), answer(202, Location=STARTED), answer(201)]
    repository, _ = play(*begin, say=lines.append)

    with repository:
        repository.put_blob(oci.Descriptor("x", BLOB.digest, size), Content())

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


def test_every_kind_of_manifest_is_asked_for(play: Play) -> None:
    repository, script = play(
        answer(Docker_Content_Digest=INDEX.digest),
        answer(body=INDEX.body, Docker_Content_Digest=INDEX.digest),
    )

    with repository:
        repository.digest("latest")
        repository.manifest("latest")

    for options in script.options:
        assert options["headers"]["Accept"].split(", ") == [
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        ]


def test_a_manifest_keeps_its_type_without_parameters(play: Play) -> None:
    kind = f"{oci.INDEX_TYPE}; charset=utf-8"
    repository, _ = play(answer(body=INDEX.body, Content_Type=kind), answer(body=INDEX.body))

    with repository:
        assert repository.manifest("latest") == INDEX
        assert repository.manifest("latest").media_type == ""


def test_a_tag_whose_digest_does_not_fit_is_read_again(play: Play) -> None:
    wrong = answer(body=INDEX.body, Docker_Content_Digest=OTHER)
    right = answer(body=INDEX.body, Docker_Content_Digest=INDEX.digest)
    repository, script = play(wrong, right)

    with repository:
        assert repository.manifest("latest").digest == INDEX.digest
    assert not script.answers


@pytest.mark.parametrize("compressed", [False, True])
def test_a_blob_is_a_stream_of_what_it_was(compressed: bool, play: Play) -> None:
    sent = gzip.compress(b"content") if compressed else b"content"
    one = answer()
    one.raw = urllib3.HTTPResponse(
        io.BytesIO(sent),
        headers={"Content-Encoding": "gzip"} if compressed else {},
        preload_content=False,
        decode_content=False,
    )
    repository, script = play(one)

    with repository, repository.open_blob(BLOB) as stream:
        assert stream.read() == b"content"
    assert script.asked[0][:2] == ("GET", f"{BASE}/blobs/{BLOB.digest}")
    assert script.options[0]["stream"] is True


def test_a_small_blob_is_compared_with_its_digest(play: Play) -> None:
    repository, script = play(answer(body=b"damaged"), answer(body=b"content"))

    with repository:
        assert repository.read(BLOB) == b"content"
    assert {one[:2] for one in script.asked} == {("GET", f"{BASE}/blobs/{BLOB.digest}")}
    assert script.options[0]["stream"] is False


@pytest.mark.parametrize(
    ("what", "named"),
    [
        (lambda one: one.manifest("latest"), "manifest latest"),
        (lambda one: one.open_blob(BLOB), f"blob {BLOB.digest}"),
        (lambda one: one.read(BLOB), f"blob {BLOB.digest}"),
    ],
)
def test_what_is_not_there_is_named(
    what: Callable[[Repository], object], named: str, play: Play
) -> None:
    repository, _ = play(answer(404))

    with repository, pytest.raises(ContentBroken, match=f"letta/letta lacks {named};"):
        what(repository)


def test_a_blobs_size_is_known_or_it_is_not_there(play: Play) -> None:
    repository, _ = play(answer(Content_Length="7"), answer(404), answer())

    with repository:
        assert repository.blob_size(BLOB.digest) == 7
        assert repository.blob_size(BLOB.digest) is None
        assert repository.blob_size(BLOB.digest) == -1


def test_a_blob_that_got_lost_is_named_by_verify(play: Play) -> None:
    body = json.dumps({"config": BLOB.to_json(), "layers": []}).encode()
    manifest = answer(body=body, Content_Type=oci.IMAGE_TYPES[0])
    repository, _ = play(manifest, answer(404))

    with repository, pytest.raises(ContentBroken, match=f"lacks blob {BLOB.digest}"):
        repository.verify(oci.sha256(body))


def test_what_is_complete_is_verified(play: Play) -> None:
    body = json.dumps({"config": BLOB.to_json(), "layers": []}).encode()
    manifest = answer(body=body, Content_Type=oci.IMAGE_TYPES[0])
    repository, _ = play(manifest, answer(Content_Length="7"))

    with repository:
        image = repository.verify(oci.sha256(body))
    assert image.root.body == body
    assert image.content is repository


@pytest.mark.parametrize("body", [b"<html>", b"[]"])
def test_a_damaged_list_of_tags_is_read_again(body: bytes, play: Play) -> None:
    repository, script = play(answer(body=body), answer(body={"tags": ["a", 1]}))

    with repository:
        assert repository.tags() == ["a", "1"]
    assert {one[:2] for one in script.asked} == {("GET", f"{BASE}/tags/list?n=1000")}


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
