from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import ContentBroken
from letta_stack.registry.layout import Layout
from tests.support.layouts import layer, write_layout

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


def blobs_of(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]


def rewrite(path: Path, blobs: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in blobs.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_what_was_changed_in_a_layout_does_not_match_its_digest(tmp_path: Path) -> None:
    path = write_layout(tmp_path / "x.tar", TWO)
    with Layout(path) as layout:
        root = layout.image.root
        config = layout.image.manifests[0].config
    whole = blobs_of(path)

    rewrite(path, {**whole, f"blobs/{root.digest.replace(':', '/')}": b"{}"})
    with pytest.raises(ContentBroken, match=f"{root.digest} in .* does not match its content"):
        Layout(path)
    rewrite(path, {**whole, f"blobs/{config.digest.replace(':', '/')}": b"{}"})
    with Layout(path) as layout, pytest.raises(ContentBroken, match=f"{config.digest} in .* not m"):
        layout.read(config)


def test_what_a_layout_lacks_is_named(tmp_path: Path) -> None:
    path = write_layout(tmp_path / "x.tar", TWO)
    with Layout(path) as layout:
        config = layout.image.manifests[0].config
    name = f"blobs/{config.digest.replace(':', '/')}"
    whole = blobs_of(path)
    del whole[name]
    rewrite(path, whole)

    with Layout(path) as layout:
        for read in (layout.read, layout.open_blob):
            with pytest.raises(ContentBroken, match=f"lacks {name}; build it again"):
                read(config)


@pytest.mark.parametrize("index", [{"manifests": []}, {"manifests": [{}, {}]}, {}])
def test_a_layout_has_one_image(index: object, tmp_path: Path) -> None:
    path = write_layout(tmp_path / "x.tar", TWO)
    rewrite(path, {**blobs_of(path), "index.json": json.dumps(index).encode()})

    with pytest.raises(ContentBroken, match="is not an OCI layout with one image"):
        Layout(path)


def test_a_compressed_layout_is_none(tmp_path: Path) -> None:
    path = write_layout(tmp_path / "x.tar", TWO)
    path.write_bytes(gzip.compress(path.read_bytes()))

    with pytest.raises(ContentBroken, match="is not an OCI layout"):
        Layout(path)


def test_a_layout_is_closed_also_when_it_is_none(tmp_path: Path) -> None:
    path = write_layout(tmp_path / "x.tar", TWO)
    with Layout(path) as layout:
        blob = layout.image.blobs[0]
        assert layout.manifest(layout.image.root.digest) == layout.image.root
    with pytest.raises((OSError, ValueError)):
        layout.read(blob)
