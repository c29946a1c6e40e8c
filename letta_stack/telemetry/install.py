"""The host's collector: the pinned version, verified when it is downloaded, or compiled from the pinned modules."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console, process
from letta_stack.base.paths import ROOT
from letta_stack.errors import BuildFailed, CollectorBroken, CollectorMissing, CommandFailed
from letta_stack.image import collector, third_party
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from letta_stack.image.sources import Sources
    from letta_stack.telemetry.layout import HostPlatform, Layout

FETCH = ROOT / "otel" / "fetch_release.py"
GOLANG = "GOLANG_IMAGE"
VERSION = re.compile(r"version v?(\d+\.\d+\.\d+)")
VERSION_SECONDS = 30.0


def install(layout: Layout, host: HostPlatform, sources: Sources) -> None:
    """Make sure that the pinned version is there; one that is there already is kept. Raises CollectorBroken."""
    wanted = Pins.load()["OTELCOL_VERSION"]
    if layout.program.exists() and installed_version(layout) == wanted:
        verify(layout)
        console.say(f"collector {wanted} is installed: {layout.program}")
        return
    layout.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.directory) as temporary:
        program = Path(temporary, "otelcol-contrib")
        if collector.choose(sources.otelcol) == "release":
            download(program, host)
        else:
            compile_from_modules(program, host, sources)
        program.chmod(0o755)
        layout.checksum.write_text(sha256(program) + "\n", encoding="utf-8")
        program.replace(layout.program)
    verify(layout)
    console.say(f"collector {wanted} installed for {host.system}/{host.architecture}")


def download(program: Path, host: HostPlatform) -> None:
    """Download and verify the release, with the script of the image's build. Raises CollectorBroken."""
    pins = Pins.load()
    pin = pins[f"OTELCOL_SHA256_{host.architecture.upper()}"] if host.system == "linux" else ""
    command = [sys.executable, str(FETCH), "--base-url", pins["OTELCOL_BASE_URL"]]
    command += ["--version", pins["OTELCOL_VERSION"], "--system", host.system]
    command += ["--architecture", host.architecture, "--sha256", pin, "--out", str(program)]
    try:
        process.run(command)
    except CommandFailed as error:
        raise CollectorBroken(
            "the collector's release could not be downloaded and verified (the line above says why); "
            "--otelcol build compiles it instead"
        ) from error


def compile_from_modules(program: Path, host: HostPlatform, sources: Sources) -> None:
    """Compile it in the image build's own stage, for the host's system. Raises BuildFailed."""
    selection = third_party.choose(
        [GOLANG], source=sources.images, platforms=(third_party.native(),)
    )
    third_party.make(selection, ca=sources.ca)
    command = ["docker", "buildx", "build", "--target=otelcol-build", "--provenance=false"]
    command += [f"--platform=linux/{host.architecture}", f"--build-arg=OTELCOL_OS={host.system}"]
    command += [
        f"--build-arg={GOLANG}={selection.references[GOLANG]}",
        "--build-arg=OTELCOL_SOURCE=build",
    ]
    command += [*third_party.ca_secret(sources.ca), f"--output=type=local,dest={program.parent}"]
    try:
        process.run([*command, str(ROOT)])
    except CommandFailed as error:
        raise BuildFailed(
            "the collector could not be compiled (the last lines above say why); run the same command again, "
            "finished steps are kept"
        ) from error
    shutil.move(program.parent / "rootfs/usr/local/bin/otelcol-contrib", program)


def installed_version(layout: Layout) -> str:
    """Return the version of the program, "" if it does not say one."""
    answer = process.probe([str(layout.program), "--version"], timeout=VERSION_SECONDS)
    found = VERSION.search(answer.stdout)
    return found[1] if answer.ok and found else ""


def verify(layout: Layout) -> str:
    """Return the version, after program, checksum and pin were found to agree.

    Raises:
        CollectorMissing: nothing is installed.
        CollectorBroken: the program has changed since, does not run here, or is not the pinned version.

    """
    if not layout.program.exists():
        raise CollectorMissing(
            f"{layout.program} is not there; install it with `inv otelcol.install`"
        )
    again = f"remove {layout.program} and run `inv otelcol.install`"
    recorded = layout.checksum.read_text(encoding="utf-8") if layout.checksum.exists() else ""
    if sha256(layout.program) != recorded.strip():
        raise CollectorBroken(f"{layout.program} is not what was installed; {again}")
    wanted, found = Pins.load()["OTELCOL_VERSION"], installed_version(layout)
    if found != wanted:
        what = f"is version {found}" if found else "does not run here"
        raise CollectorBroken(f"{layout.program} {what}, pinned is {wanted}; {again}")
    return found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
