"""How long a build takes, ours and upstream's, on the same base image and the same engine.

    python -m bench.build [--only ours|upstream] [--raw FILE]

Cold: no layer cache, package downloads cached (neither side can clear the engine's download caches alone). Unchanged: the
same command again. Edit: after one line of Letta's source has changed. Ours leaves the collector's stages cached in all
of them, because upstream's does not compile it. Two architectures: ours only; upstream's needs emulation for the
second.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import upstream
from letta_stack import build, images, process
from letta_stack.paths import ROOT
from letta_stack.pins import Pins
from letta_stack.prepare import find_ca

if TYPE_CHECKING:
    from collections.abc import Sequence

UPSTREAM_IMAGE = "letta-stack/bench-upstream"
OURS_IMAGE = "letta-stack/bench-ours"
BOTH = ("linux/amd64", "linux/arm64")
# Each edit is new to the cache, also in a second run of the benchmark.
EDITED = Path("letta/server/rest_api/app.py")


def stages_but_the_collector() -> str:
    """Return the stages of our Dockerfile that a cold build runs, for `--no-cache-filter`."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    names = re.findall(r"^FROM .* AS ([\w-]+)$", text, flags=re.MULTILINE)
    return ",".join(name for name in names if not name.startswith("otelcol"))


def unpack_sdist(directory: Path, ca: Path | None) -> Path:
    """Export the verified source from our own build stage."""
    request = build.Request((images.native(),), ca=ca)
    command = argv(request, ("--target=letta-source", f"--output=type=local,dest={directory}"))
    process.capture([*command[:-1], "--quiet", command[-1]])
    return directory


def argv(request: build.Request, output: Sequence[str]) -> list[str]:
    """Return our build's command, its base images made."""
    otelcol = build.choose_otelcol(request.otelcol)
    pins = (*build.BASES, build.GO) if otelcol == "build" else build.BASES
    plan = images.choose(pins, source=request.images, platforms=request.platforms)
    images.make(plan, ca=request.ca)
    return build.argv(request, plan.references, otelcol=otelcol, labels={}, output=output)


def upstream_argv(source: Path, work: Path, ca: Path | None) -> list[str]:
    """Return the command that builds upstream's Dockerfile, its network replaced as named there."""
    dockerfile = work / "upstream.Dockerfile"
    changes = upstream.replacements(uv_version=Pins.load()["UV_VERSION"])
    text = (source / "Dockerfile").read_text(encoding="utf-8")
    dockerfile.write_text(upstream.adapt(text, changes), encoding="utf-8")
    platform = (images.native(),)
    base = images.choose(("POSTGRES_IMAGE",), source="auto", platforms=platform)
    images.make(base, ca=ca)
    return [
        *("docker", "buildx", "build", "--provenance=false", "--load", f"--tag={UPSTREAM_IMAGE}"),
        f"--file={dockerfile}",
        f"--build-arg=POSTGRES_IMAGE={base.references['POSTGRES_IMAGE']}",
        f"--build-context=ours=docker-image://{build.image_name()}",
        *images.ca_secret(ca),
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


def three(command: list[str], cold: Sequence[str], source: Path) -> dict[str, float]:
    """Measure cold, unchanged and edited builds of one kind."""
    numbers = {
        "cold": seconds([*command[:-1], *cold, command[-1]]),
        "unchanged": seconds(command),
    }
    edit(source)
    return numbers | {"edit": seconds(command)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; keep the images for bench.start."""
    parser = argparse.ArgumentParser(prog="python -m bench.build")
    parser.add_argument("--only", choices=["ours", "upstream"])
    parser.add_argument("--raw", type=Path, help="where to write every number, as JSON")
    options = parser.parse_args(arguments)
    ca = find_ca("", os.environ)
    numbers: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        pristine = unpack_sdist(work / "pristine", ca)
        for change in upstream.replacements(uv_version=Pins.load()["UV_VERSION"]):
            print(f"replaced in upstream's Dockerfile: {change.what}", file=sys.stderr)
        request = build.Request((images.native(),), ca=ca)
        if options.only != "upstream":
            source = shutil.copytree(pristine, work / "ours")
            cold = (f"--no-cache-filter={stages_but_the_collector()}",)
            one = replace(request, letta_source=source)
            output = ("--load", f"--tag={OURS_IMAGE}")
            seconds(argv(one, output))  # so that the collector is there
            numbers["ours"] = three(argv(one, output), cold, source)
            both = replace(one, platforms=BOTH)
            seconds(argv(both, output))
            numbers["ours, two architectures"] = three(argv(both, output), cold, source)
        if options.only != "ours":
            source = shutil.copytree(pristine, work / "upstream")
            numbers["upstream"] = three(upstream_argv(source, work, ca), ("--no-cache",), source)
    for who, row in numbers.items():
        print(f"{who:24}" + "".join(f"  {what} {value:6.1f} s" for what, value in row.items()))
    for who in set(numbers) & {"ours", "ours, two architectures"}:
        if "upstream" in numbers:
            ratios = {what: numbers[who][what] / numbers["upstream"][what] for what in numbers[who]}
            print(f"{who} / upstream: " + ", ".join(f"{k} {v:.2f}" for k, v in ratios.items()))
    if options.raw:
        options.raw.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
