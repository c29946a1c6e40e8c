"""Whether two builds of one commit give the same images and, if not, which layer and file differ."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from letta_stack.base import git
from letta_stack.base.paths import ROOT
from letta_stack.engine import disk
from letta_stack.errors import NotReproducible
from letta_stack.image import server
from letta_stack.registry import oci
from letta_stack.registry.layout import Layout
from letta_stack.release import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from letta_stack.image.server import Request
    from letta_stack.registry.oci import Descriptor, Image, Manifest

ATTRIBUTES = ("type", "mode", "uid", "gid", "size", "mtime", "linkname")
MAX_FILES = 20
BLOCK = 1 << 20


def check_commit(
    request: Request, *, allow_dirty: bool, say: Callable[[str], None], dry_run: bool = False
) -> None:
    """Build twice without cache, as a push builds, and compare."""
    found = git.read(ROOT)
    git.check_clean(found, allow_dirty=allow_dirty)
    labels = {server.REVISION_LABEL: found.commit}
    if dry_run:
        say("would build twice without cache and compare:")
        server.run(request, build.output_options("image.tar", found), labels, dry_run=True)
        return
    build.check_machine(request)
    check(
        lambda path: server.run(request, build.output_options(str(path), found), labels),
        needed_bytes=build.BYTES_PER_PLATFORM * len(request.platforms),
        say=say,
    )


def check(make: Callable[[Path], None], *, needed_bytes: int, say: Callable[[str], None]) -> None:
    """Have ``make`` write two OCI layouts, without cache, and compare their images.

    Images, not indexes: an attestation names the time of its build, so an index with one is always new.
    """
    with tempfile.TemporaryDirectory(prefix="letta-stack-") as name:
        directory = Path(name)
        disk.check_room(directory, 2 * needed_bytes)
        paths = [directory / "first.tar", directory / "second.tar"]
        for path in paths:
            make(path)
        with Layout(paths[0]) as first, Layout(paths[1]) as second:
            differences = list(compare(first.image, second.image))
            for line in differences:
                say(line)
            if differences:
                message = (
                    f"two builds of one commit differ, first in {differences[0]}; "
                    "make that step depend on nothing but its inputs and SOURCE_DATE_EPOCH"
                )
                raise NotReproducible(message)
            for platform, manifest in sorted(first.image.platforms.items()):
                say(f"{platform}: {manifest.digest} both times")


def compare(first: Image, second: Image) -> Iterator[str]:
    """Yield each difference as platform, layer and file; nothing if the images are the same."""
    for platform in sorted(set(first.platforms) ^ set(second.platforms)):
        yield f"{platform}: only in one of the builds"
    for platform in sorted(set(first.platforms) & set(second.platforms)):
        ours, theirs = first.platforms[platform], second.platforms[platform]
        if ours.digest != theirs.digest:
            for difference in _compare_images(first, ours, second, theirs):
                yield f"{platform}: {difference}"


def _compare_images(first: Image, ours: Manifest, second: Image, theirs: Manifest) -> Iterator[str]:
    our_config = oci.read_json(first.content, ours.config)
    their_config = oci.read_json(second.content, theirs.config)
    steps = [
        str(step.get("created_by", ""))
        for step in our_config.get("history", [])
        if not step.get("empty_layer")
    ]
    our_layers, their_layers = ours.blobs[1:], theirs.blobs[1:]
    for number, (one, other) in enumerate(zip(our_layers, their_layers, strict=False)):
        if one.digest != other.digest:
            step = " ".join(steps[number].split())[:60] if number < len(steps) else "?"
            for difference in compare_layers(_files(first, one), _files(second, other)):
                yield f"layer {number + 1} ({step}): {difference}"
    if len(our_layers) != len(their_layers):
        yield f"{len(our_layers)} and {len(their_layers)} layers"
    # The layers' own digests are in `rootfs`: said above already.
    for key in sorted((set(our_config) | set(their_config)) - {"rootfs"}):
        if our_config.get(key) != their_config.get(key):
            yield f"configuration: {key}"


def compare_layers(
    ours: dict[str, dict[str, object]], theirs: dict[str, dict[str, object]]
) -> Iterator[str]:
    """Yield the files that differ and in what, at most ``MAX_FILES`` of them."""
    names = [name for name in sorted(ours | theirs) if ours.get(name) != theirs.get(name)]
    for name in names[:MAX_FILES]:
        if name not in ours or name not in theirs:
            yield f"/{name}: only in the {'first' if name in ours else 'second'} build"
        else:
            # What is no file has no content.
            one, other = ours[name], theirs[name]
            what = [key for key in one | other if one.get(key) != other.get(key)]
            yield f"/{name}: {', '.join(what)}"
    if len(names) > MAX_FILES:
        yield f"and {len(names) - MAX_FILES} more files"
    if not names:
        yield "the same files in another order or compression"


def _files(image: Image, layer: Descriptor) -> dict[str, dict[str, object]]:
    files: dict[str, dict[str, object]] = {}
    with (
        image.content.open_blob(layer) as stream,
        tarfile.open(fileobj=stream, mode="r|*") as archive,
    ):
        for member in archive:
            facts: dict[str, object] = {name: getattr(member, name) for name in ATTRIBUTES}
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                facts["content"] = _digest(content)
            files[member.name] = facts
    return files


def _digest(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := stream.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()
