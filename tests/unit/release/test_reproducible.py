"""Whether two builds are the same, and what is said about those that are not."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import git
from letta_stack.base.git import Checkout
from letta_stack.engine import disk
from letta_stack.errors import DirtyTree, NotReproducible
from letta_stack.image import server
from letta_stack.image.server import Request
from letta_stack.registry.layout import Layout
from letta_stack.release import build, reproducible
from tests.support.layouts import Memory, layer, write_layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.registry import oci

TWO = {"linux/amd64": [layer({"a": b"1"})], "linux/arm64": [layer({"a": b"2"})]}


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


def of(
    config: dict[str, object], layers: Sequence[bytes] = (), *, architecture: str = "amd64"
) -> oci.Image:
    return Memory().image({"os": "linux", "architecture": architecture, **config}, layers)


def compared(one: oci.Image, other: oci.Image) -> list[str]:
    return list(reproducible.compare(one, other))


def test_a_platform_that_only_one_build_has_is_a_difference() -> None:
    assert compared(of({}), of({}, architecture="arm64")) == [
        "linux/amd64: only in one of the builds",
        "linux/arm64: only in one of the builds",
    ]


def test_layers_are_counted_and_configurations_compared_key_by_key() -> None:
    first = layer({"a": b"1"})
    one = of({"config": {"User": "1"}, "rootfs": 1, "created": "x"}, [first])
    other = of({"config": {"User": "2"}, "rootfs": 2, "author": "y"}, [first, first])

    assert compared(one, other) == [
        f"linux/amd64: {what}"
        for what in (
            "1 and 2 layers",
            "configuration: author",
            "configuration: config",
            "configuration: created",
        )
    ]


@pytest.mark.parametrize(
    ("history", "named"),
    [
        ([{"created_by": "ENV A=1", "empty_layer": True}, {"created_by": "RUN  a\n&& b"}], "RUN a && b"),
        ([{"created_by": "RUN " + "x" * 100}], "RUN " + "x" * 56),
        ([{}], ""),
        ([], "?"),
    ],
)  # fmt: skip
def test_a_layer_is_named_by_the_step_that_made_it(
    history: list[dict[str, object]], named: str
) -> None:
    one = of({"history": history}, [layer({"a": b"1"})])
    other = of({"history": history}, [layer({"a": b"2"})])

    assert compared(one, other) == [f"linux/amd64: layer 1 ({named}): /a: content"]


def test_the_same_files_in_another_compression_are_said_to_be_the_same() -> None:
    plain = gzip.decompress(layer({"a": b"1"}))

    assert compared(of({}, [layer({"a": b"1"})]), of({}, [plain])) == [
        "linux/amd64: layer 1 (?): the same files in another order or compression"
    ]


@pytest.mark.parametrize(("count", "lines"), [(20, 20), (21, 21), (25, 21)])
def test_of_many_files_the_first_twenty_are_named(count: int, lines: int) -> None:
    ours: dict[str, dict[str, object]] = {f"{number:02}": {} for number in range(count)}

    found = list(reproducible.compare_layers(ours, {}))

    assert found[:20] == [f"/{number:02}: only in the first build" for number in range(20)]
    assert len(found) == lines
    assert found[20:] == [f"and {count - 20} more files"][: lines - 20]


def test_what_is_no_file_has_no_content() -> None:
    def tar(kind: bytes) -> bytes:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            member = tarfile.TarInfo("a")
            member.type, member.linkname = kind, "b"
            archive.addfile(member)
        return raw.getvalue()

    link, file = of({}, [tar(tarfile.SYMTYPE)]), of({}, [tar(tarfile.REGTYPE)])

    for found in (compared(link, file), compared(file, link)):
        assert found == ["linux/amd64: layer 1 (?): /a: type, content"]


def test_two_layouts_need_twice_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(disk, "check_room", lambda _, needed: asked.append(needed))

    reproducible.check(_write_two, needed_bytes=5, say=print)

    assert asked == [10]


@pytest.fixture
def commit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return what is asked for, in order; builds write an image, always the same."""
    calls: list[tuple[Any, ...]] = []

    def run(
        _: Request, output: list[str], labels: dict[str, str], *, dry_run: bool = False
    ) -> None:
        calls.append(("build", labels, dry_run))
        if not dry_run:
            _write_two(Path(output[-1].split("dest=")[1].split(",")[0]))

    monkeypatch.setattr(git, "read", lambda _: Checkout("abc", 1, ("file",)))
    monkeypatch.setattr(server, "run", run)
    monkeypatch.setattr(build, "check_machine", lambda request: calls.append(("machine", request)))
    monkeypatch.setattr(disk, "check_room", lambda _, needed: calls.append(("room", needed)))
    return calls


REQUEST = Request(("linux/amd64", "linux/arm64"))
BUILD = ("build", {server.REVISION_LABEL: "abc"}, False)


def test_a_commit_is_built_twice_once_the_machine_can(commit: list[tuple[Any, ...]]) -> None:
    reproducible.check_commit(REQUEST, allow_dirty=True, say=print)

    assert commit == [
        ("machine", REQUEST),
        ("room", 4 * build.BYTES_PER_PLATFORM),
        *(BUILD, BUILD),
    ]


def test_what_is_not_committed_is_not_built_twice_unless_it_is_meant(
    commit: list[tuple[Any, ...]],
) -> None:
    with pytest.raises(DirtyTree):
        reproducible.check_commit(REQUEST, allow_dirty=False, say=print)
    assert commit == []


def test_a_dry_run_builds_nothing(commit: list[tuple[Any, ...]]) -> None:
    lines: list[str] = []

    reproducible.check_commit(REQUEST, allow_dirty=True, say=lines.append, dry_run=True)

    assert commit == [(*BUILD[:2], True)]
    assert lines == ["would build twice without cache and compare:"]
