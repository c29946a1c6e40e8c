"""How long a build takes and what a push of it moves, ours and upstream's, on the same base image and the same engine.

    python -m bench.build [--only ours|upstream] [--one-architecture] [--raw FILE]

Cold: no layer cache, and no download cache, which BuildKit empties for every stage that it builds anew. Unchanged: the same
command again. Edit: after one line of Letta's source has changed. Ours leaves the collector's stages cached in all
of them, because upstream's does not compile it. The second architecture is cross-built by ours and emulated by
upstream's, which takes a quarter of an hour: ``--one-architecture`` leaves it out.

Push: the first one to a new repository, the same again, and the one after the edit, in bytes that reach the registry.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import push, upstream
from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.image import collector, server, third_party
from letta_stack.image.sources import PLATFORMS, find_ca
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UPSTREAM_IMAGE = "letta-stack/bench-upstream"
OURS_IMAGE = "letta-stack/bench-ours"
OURS, UPSTREAM, TWO = "ours", "upstream", ", two architectures"
# Each edit is new to the cache, also in a second run of the benchmark.
EDITED = Path("letta/server/rest_api/app.py")


def stages_but_the_collector() -> str:
    """Return the stages of our Dockerfile that a cold build runs, for `--no-cache-filter`."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    names = re.findall(r"^FROM .* AS ([\w-]+)$", text, flags=re.MULTILINE)
    return ",".join(name for name in names if not name.startswith("otelcol"))


def unpack_sdist(directory: Path, ca: Path | None) -> Path:
    """Export the verified source from our own build stage."""
    request = server.Request((third_party.native(),), ca=ca)
    command = argv(request, ("--target=letta-source", f"--output=type=local,dest={directory}"))
    process.capture([*command[:-1], "--quiet", command[-1]])
    return directory


def argv(request: server.Request, output: Sequence[str]) -> list[str]:
    """Return our build's command, its base images made."""
    otelcol = collector.choose(request.otelcol)
    pins = (*server.BASES, server.GO) if otelcol == "build" else server.BASES
    selection = third_party.choose(pins, source=request.images, platforms=request.platforms)
    third_party.make(selection, ca=request.ca)
    return server.argv(request, selection.references, otelcol=otelcol, labels={}, output=output)


def upstream_argv(
    source: Path,
    work: Path,
    ca: Path | None,
    platforms: tuple[str, ...],
    *,
    image: str = UPSTREAM_IMAGE,
    ours: str = OURS_IMAGE,
) -> list[str]:
    """Return the command that builds upstream's Dockerfile as ``image``, its network replaced as named there.

    ``ours`` is the image that the collector is taken from.
    """
    dockerfile = work / "upstream.Dockerfile"
    changes = upstream.replacements(uv_version=Pins.load()["UV_VERSION"])
    text = (source / "Dockerfile").read_text(encoding="utf-8")
    dockerfile.write_text(upstream.adapt(text, changes), encoding="utf-8")
    base = third_party.choose(("POSTGRES_IMAGE",), source="auto", platforms=platforms)
    third_party.make(base, ca=ca)
    return [
        *("docker", "buildx", "build", "--provenance=false", "--load", f"--tag={image}"),
        f"--file={dockerfile}",
        f"--build-arg=POSTGRES_IMAGE={base.references['POSTGRES_IMAGE']}",
        f"--platform={','.join(platforms)}",
        f"--build-context=ours=docker-image://{ours}",
        *third_party.ca_secret(ca),
        str(source),
    ]


def seconds(command: Sequence[str]) -> float:
    """Run a build quietly and time it."""
    began = time.monotonic()
    process.capture([*command[:-1], "--progress=plain", command[-1]])
    elapsed = time.monotonic() - began
    print(f"{elapsed:6.1f} s for one build", file=sys.stderr, flush=True)
    return elapsed


def edit(source: Path) -> None:
    """Change one line of the server."""
    with (source / EDITED).open("a", encoding="utf-8") as file:
        file.write(f"# {time.time_ns()}\n")


def measure(
    image: str,
    command: list[str],
    cold: Sequence[str],
    source: Path,
    push_revision: Callable[[int], float],
) -> dict[str, float]:
    """Measure cold, unchanged and edited builds of one kind, and what a push of each moves."""
    # An engine that has the layers of a build before would not unpack the same ones again.
    process.probe(["docker", "image", "rm", "--force", image])
    numbers = {
        "cold (s)": seconds([*command[:-1], *cold, command[-1]]),
        "unchanged (s)": seconds(command),
        "push (MB)": push_revision(1),
        "push unchanged (MB)": push_revision(1),
    }
    edit(source)
    return numbers | {"edit (s)": seconds(command), "push edit (MB)": push_revision(2)}


def print_table(numbers: dict[str, dict[str, float]]) -> None:
    """Print every number, and what it is of the number beside it."""
    width = max(len(who) for who in numbers)
    for who, row in numbers.items():
        print(f"{who:{width}}" + "".join(f"  {what} {value:.2f}" for what, value in row.items()))
    for one, other in (
        (OURS, UPSTREAM),
        (OURS + TWO, UPSTREAM + TWO),
        (OURS + TWO, OURS),
        (UPSTREAM + TWO, UPSTREAM),
    ):
        if one in numbers and other in numbers:
            ratios = {what: numbers[one][what] / numbers[other][what] for what in numbers[one]}
            print(f"{one} / {other}: " + ", ".join(f"{k} {v:.2f}" for k, v in ratios.items()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; keep the images for bench.start."""
    parser = argparse.ArgumentParser(prog="python -m bench.build")
    parser.add_argument("--only", choices=[OURS, UPSTREAM])
    parser.add_argument("--one-architecture", action="store_true", help="this machine's only")
    parser.add_argument("--raw", type=Path, help="where to write every number, as JSON")
    options = parser.parse_args(arguments)
    ca = find_ca("", os.environ)
    numbers: dict[str, dict[str, float]] = {}
    builds = {"": (third_party.native(),)} | ({} if options.one_architecture else {TWO: PLATFORMS})
    with tempfile.TemporaryDirectory() as temporary, push.registry() as host:
        work = Path(temporary)
        pristine = unpack_sdist(work / "pristine", ca)
        for change in upstream.replacements(uv_version=Pins.load()["UV_VERSION"]):
            print(f"replaced in upstream's Dockerfile: {change.what}", file=sys.stderr)
        source = shutil.copytree(pristine, work / OURS)
        cold = (f"--no-cache-filter={stages_but_the_collector()}",)
        output = (third_party.into_engine(OURS_IMAGE),)
        for suffix, platforms in builds.items():
            command = argv(server.Request(platforms, ca=ca, letta_source=source), output)
            seconds(command)  # so that the collector is there, for upstream's as well
            if options.only != UPSTREAM:
                release = functools.partial(push.ours, host, source, platforms)
                numbers[OURS + suffix] = measure(OURS_IMAGE, command, cold, source, release)
        if options.only != OURS:
            source = shutil.copytree(pristine, work / UPSTREAM)
            for suffix, platforms in builds.items():
                command = upstream_argv(source, work, ca, platforms)
                release = functools.partial(push.upstream, host, UPSTREAM_IMAGE, platforms)
                numbers[UPSTREAM + suffix] = measure(
                    UPSTREAM_IMAGE, command, ("--no-cache",), source, release
                )
    print_table(numbers)
    if options.raw:
        options.raw.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
