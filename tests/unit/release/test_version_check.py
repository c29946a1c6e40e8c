"""Which Letta is in an image, by the metadata in its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import ContentBroken, VersionsDisagree
from letta_stack.registry.layout import Layout
from letta_stack.release import version_check
from letta_stack.release.tags import ImageVersion, parse_version
from tests.support.layouts import layer, write_layout

if TYPE_CHECKING:
    from pathlib import Path

DIST_INFO = "opt/letta/venv/lib/python3.11/site-packages/letta"


def metadata(version: str) -> bytes:
    name = f"{DIST_INFO}-{version}.dist-info/METADATA"
    return layer(
        {
            f"{DIST_INFO}_client-1.0.dist-info/METADATA": b"Version: 1.0\n",
            name: f"Metadata-Version: 2.4\nName: letta\nVersion: {version}\n".encode(),
        }
    )


def check(path: Path, layers: dict[str, list[bytes]], release: ImageVersion) -> None:
    with Layout(write_layout(path / "image.tar", layers)) as layout:
        version_check.check_metadata(layout.image, release)


def test_the_letta_inside_is_compared_with_the_tag_on_every_platform(tmp_path: Path) -> None:
    below = layer({"etc/x": b"x"})
    good = {"linux/amd64": [below, metadata("0.16.8")], "linux/arm64": [metadata("0.16.8"), below]}

    check(tmp_path, good, parse_version("0.16.8-r2"))
    with pytest.raises(VersionsDisagree, match=r"linux/arm64: image metadata says Letta 0\.16\.7"):
        check(tmp_path, {**good, "linux/arm64": [metadata("0.16.7")]}, parse_version("0.16.8"))
    with pytest.raises(ContentBroken, match="linux/arm64 has no Letta"):
        check(tmp_path, {**good, "linux/arm64": [below]}, parse_version("0.16.8"))


def test_a_letta_that_a_later_layer_replaced_does_not_count(tmp_path: Path) -> None:
    inner = layer({f"./{DIST_INFO}-0.16.8.dist-info/METADATA": b"Name: letta\nVersion: 0.16.8\n"})
    damaged = layer({f"{DIST_INFO}-0.16.8.dist-info/METADATA": b"Name: letta\n"})

    check(tmp_path, {"linux/amd64": [metadata("0.16.7"), inner, damaged]}, parse_version("0.16.8"))
