from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import ContentBroken, NotReproducible, PlatformMissing
from letta_stack.registry import oci
from letta_stack.registry.layout import Layout
from letta_stack.registry.oci import Descriptor, Manifest
from letta_stack.release import reproducible
from tests.support.layouts import IMAGE_TYPE, layer, write_layout

if TYPE_CHECKING:
    from pathlib import Path

TWO = {"linux/amd64": [layer({"a": b"1"})], "linux/arm64": [layer({"a": b"2"})]}


def test_a_layout_gives_manifests_children_first_and_every_blob_once(tmp_path: Path) -> None:
    same = layer({"a": b"1"})
    path = write_layout(tmp_path / "x.tar", {"linux/amd64": [same], "linux/arm64": [same]})

    with Layout(path) as layout:
        image = layout.image

        assert [manifest.is_index for manifest in image.manifests] == [False, False, True]
        assert len(image.blobs) == 3
        assert set(image.platforms) == {"linux/amd64", "linux/arm64"}
        with layout.open_blob(image.manifests[0].blobs[1]) as stream:
            assert stream.read() == same


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


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10240], ids=["empty", "text", "zeros"])
def test_what_is_no_layout_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(content)

    with pytest.raises(ContentBroken, match=r"is not an OCI layout|lacks index"):
        Layout(path)


def test_a_truncated_layout_is_refused(tmp_path: Path) -> None:
    path = write_layout(tmp_path / "x.tar", TWO)
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(ContentBroken):
        Layout(path)


def test_an_attestation_is_no_platform() -> None:
    assert oci.platform_name({"os": "unknown", "architecture": "unknown"}) == oci.NO_PLATFORM


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"os": "linux", "architecture": "arm64", "variant": "v8"}, "linux/arm64"),
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, "linux/arm/v7"),
        ({"os": "linux", "architecture": "amd64"}, "linux/amd64"),
    ],
)
def test_platform_names(value: dict[str, str], expected: str) -> None:
    assert oci.platform_name(value) == expected


def test_a_descriptor_survives_a_round_trip() -> None:
    one = Descriptor("type", "sha256:1", 3, "linux/arm/v7")

    assert Descriptor.from_json(one.to_json()) == one


def test_an_index_is_the_same_in_whatever_order_its_images_come() -> None:
    images = {name: Manifest(name.encode(), IMAGE_TYPE) for name in ("linux/arm64", "linux/amd64")}

    one = oci.index_of(images)
    other = oci.index_of(dict(reversed(images.items())))

    assert one.digest == other.digest
    assert [item.platform for item in one.manifests] == ["linux/amd64", "linux/arm64"]


def differences(tmp_path: Path, ours: list[bytes], theirs: list[bytes]) -> list[str]:
    first = write_layout(tmp_path / "first.tar", {"linux/amd64": ours})
    second = write_layout(tmp_path / "second.tar", {"linux/amd64": theirs})
    with Layout(first) as one, Layout(second) as other:
        return list(reproducible.compare(one.image, other.image))


def test_equal_images_have_no_difference(tmp_path: Path) -> None:
    assert differences(tmp_path, [layer({"a": b"1"})], [layer({"a": b"1"})]) == []


def test_a_difference_names_platform_layer_step_file_and_kind(tmp_path: Path) -> None:
    same = layer({"x": b"x"})
    found = differences(
        tmp_path,
        [same, layer({"etc/a": b"1", "etc/b": b"1"})],
        [same, layer({"etc/a": b"2", "etc/c": b"1"})],
    )

    prefix = "linux/amd64: layer 2 (COPY 1): "
    assert found == [
        f"{prefix}/etc/a: content",
        f"{prefix}/etc/b: only in the first build",
        f"{prefix}/etc/c: only in the second build",
    ]


def test_a_time_that_differs_is_a_difference(tmp_path: Path) -> None:
    found = differences(tmp_path, [layer({"a": b"1"})], [layer({"a": b"1"}, mtime=5)])

    assert found == ["linux/amd64: layer 1 (COPY 0): /a: mtime"]


def test_two_builds_that_differ_end_with_an_error_that_names_the_first_file(tmp_path: Path) -> None:
    contents = iter((b"1", b"2"))
    lines: list[str] = []

    def build(path: Path) -> None:
        write_layout(path, {"linux/amd64": [layer({"a": next(contents)})]})

    with pytest.raises(NotReproducible, match=r"first in linux/amd64: layer 1 .*/a: content"):
        reproducible.check(build, needed_bytes=0, say=lines.append)
    assert len(lines) == 1


def test_two_builds_that_agree_print_their_digest(tmp_path: Path) -> None:
    lines: list[str] = []

    reproducible.check(_write_two, needed_bytes=0, say=lines.append)

    assert [line.split(":")[0] for line in lines] == ["linux/amd64", "linux/arm64"]


def _write_two(path: Path) -> None:
    write_layout(path, TWO)
