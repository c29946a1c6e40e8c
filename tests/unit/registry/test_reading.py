"""What is read from a repository, and compared with its digest."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING

import pytest
import urllib3

from letta_stack.errors import ContentBroken
from letta_stack.registry import oci
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
