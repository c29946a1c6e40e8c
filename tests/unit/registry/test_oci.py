from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import ContentBroken, PlatformMissing
from letta_stack.registry import oci
from letta_stack.registry.layout import Layout
from letta_stack.registry.oci import Descriptor, Manifest
from tests.support.layouts import IMAGE_TYPE, Memory, layer, write_layout

if TYPE_CHECKING:
    from pathlib import Path

TWO = {"linux/amd64": [layer({"a": b"1"})], "linux/arm64": [layer({"a": b"2"})]}


def test_platforms_must_be_exactly_those_asked_for(tmp_path: Path) -> None:
    with Layout(write_layout(tmp_path / "x.tar", TWO)) as layout:
        layout.image.check_platforms(["linux/arm64", "linux/amd64"])
        with pytest.raises(PlatformMissing, match="asked for were linux/amd64;"):
            layout.image.check_platforms(["linux/amd64"])
        with pytest.raises(PlatformMissing, match="linux/s390x"):
            layout.image.check_platforms([*TWO, "linux/s390x"])


def test_labels_must_be_on_every_platform(tmp_path: Path) -> None:
    with Layout(write_layout(tmp_path / "x.tar", TWO, labels={"a": "1"})) as layout:
        layout.image.check_labels({"a": "1"})
        with pytest.raises(ContentBroken, match="label b is '' and should be '2'"):
            layout.image.check_labels({"b": "2"})


def test_an_attestation_is_no_platform() -> None:
    assert oci.platform_name({"os": "unknown", "architecture": "unknown"}) == oci.NO_PLATFORM


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"os": "linux", "architecture": "arm64", "variant": "v8"}, "linux/arm64"),
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, "linux/arm/v7"),
        ({"os": "linux", "architecture": "amd64"}, "linux/amd64"),
        ({"architecture": "amd64", "variant": ""}, "/amd64"),
        ({"os": "linux"}, "linux/"),
    ],
)
def test_platform_names(value: dict[str, str], expected: str) -> None:
    assert oci.platform_name(value) == expected


def test_a_descriptor_is_written_as_the_specification_says() -> None:
    plain = {"mediaType": "type", "digest": "sha256:1", "size": 3}
    platform = {"os": "linux", "architecture": "arm", "variant": "v7"}

    assert Descriptor("type", "sha256:1", 3).to_json() == plain
    assert Descriptor("type", "sha256:1", 3, "linux/arm/v7").to_json() == {
        **plain,
        "platform": platform,
    }
    assert Descriptor.from_json(plain) == Descriptor("type", "sha256:1", 3, "")
    assert Descriptor.from_json({"digest": "sha256:1", "size": "3", "platform": None}).size == 3
    assert Descriptor.from_json({"digest": "sha256:1", "size": 3}).media_type == ""


@pytest.mark.parametrize(
    ("media_type", "is_index"),
    [
        ("application/vnd.oci.image.index.v1+json", True),
        ("application/vnd.docker.distribution.manifest.list.v2+json", True),
        ("application/vnd.oci.image.manifest.v1+json", False),
        ("application/vnd.docker.distribution.manifest.v2+json", False),
    ],
)
def test_what_lists_manifests(media_type: str, is_index: bool) -> None:
    assert Manifest(b"{}", media_type).is_index is is_index


@pytest.mark.parametrize("body", [b"{", b"[]", b"null"])
def test_what_is_no_json_object_is_no_manifest(body: bytes) -> None:
    with pytest.raises(ContentBroken, match=f"{oci.sha256(body)} is not a manifest"):
        _ = Manifest(body, IMAGE_TYPE).manifests


def test_an_image_has_its_configuration_and_its_layers_as_blobs() -> None:
    entries = [{"mediaType": "x", "digest": f"sha256:{name}", "size": 1} for name in "abc"]
    body = json.dumps({"config": entries[0], "layers": entries[1:]}).encode()

    assert [blob.digest for blob in Manifest(body, IMAGE_TYPE).blobs] == [
        *("sha256:a", "sha256:b", "sha256:c")
    ]
    assert Manifest(body, oci.INDEX_TYPE).blobs == []


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"config": {"Labels": {"a": "1"}}}, {"a": "1"}),
        ({"config": {"Labels": None}}, {}),
        ({"config": None}, {}),
        ({}, {}),
    ],
)
def test_an_image_without_labels_has_none(config: dict[str, object], labels: object) -> None:
    image = Memory().image({"os": "linux", "architecture": "amd64", **config})

    assert list(image.platforms) == ["linux/amd64"]
    assert image.labels("linux/amd64") == labels


@pytest.mark.parametrize(
    ("text", "is_digest"),
    [
        (oci.sha256(b""), True),
        (f"{oci.sha256(b'')}0", False),
        (oci.sha256(b"")[:-1], False),
        (f"sha512:{'a' * 64}", False),
        (f"sha256:{'A' * 64}", False),
    ],
)
def test_a_digest_has_one_form(text: str, is_digest: bool) -> None:
    assert (oci.DIGEST.fullmatch(text) is not None) is is_digest


def test_an_attestation_alone_is_an_image_for_no_platform() -> None:
    image = Memory().image({"os": "unknown", "architecture": "unknown"})

    assert image.platforms == {}
    with pytest.raises(PlatformMissing, match="holds no platform, asked for were linux/amd64"):
        image.check_platforms(["linux/amd64"])


@pytest.mark.parametrize("config", [[], None, "text"])
def test_a_configuration_that_is_none_is_named(config: object) -> None:
    with pytest.raises(ContentBroken, match=r"sha256:\w+ is not a configuration"):
        _ = Memory().image(config).platforms


def test_a_label_with_another_value_is_named_with_both() -> None:
    config = {"os": "linux", "architecture": "amd64", "config": {"Labels": {"a": "1", "b": ""}}}
    image = Memory().image(config)

    image.check_labels({"a": "1", "b": "", "c": ""})
    with pytest.raises(ContentBroken, match="linux/amd64: label a is '1' and should be '2'"):
        image.check_labels({"a": "2"})


def test_a_descriptor_survives_a_round_trip() -> None:
    one = Descriptor("type", "sha256:1", 3, "linux/arm/v7")

    assert Descriptor.from_json(one.to_json()) == one


def test_an_index_of_the_same_images_has_one_digest_for_ever() -> None:
    # A release that is promoted again by a later version of this project must not become another one.
    found = oci.index_of({"linux/amd64": Manifest(b"{}", IMAGE_TYPE)})

    assert found.digest == (
        "sha256:62ef477ee7b187c2d553c09627f29b220a26233e1a03dc77ded86e364d2a8441"
    )


def test_an_index_is_the_same_in_whatever_order_its_images_come() -> None:
    images = {name: Manifest(name.encode(), IMAGE_TYPE) for name in ("linux/arm64", "linux/amd64")}

    one = oci.index_of(images)
    other = oci.index_of(dict(reversed(images.items())))

    assert one.digest == other.digest
    assert one.media_type == oci.INDEX_TYPE
    assert one.document["mediaType"] == oci.INDEX_TYPE
    assert one.document["schemaVersion"] == 2
    assert one.manifests == [
        Descriptor(IMAGE_TYPE, oci.sha256(name.encode()), 11, name)
        for name in ("linux/amd64", "linux/arm64")
    ]
