"""debugpy for `hot`: installed once by a build step, kept on this machine, mounted into the container, part of no image."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console, content_hash, process
from letta_stack.base.paths import ROOT, STATE
from letta_stack.errors import BuildFailed, CommandFailed
from letta_stack.image import server, third_party

if TYPE_CHECKING:
    from letta_stack.image.sources import Sources

REQUIREMENTS = "requirements/debugger.txt"
TARGET = "debugger"  # a stage of the Dockerfile


def directory(platform: str) -> Path:
    """Return where the debugger for ``platform`` (os/architecture) lies, or will lie."""
    name = content_hash.digest(ROOT, [ROOT / REQUIREMENTS], [platform])
    return STATE / "debugger" / name[: content_hash.SHORT]


def prepare(sources: Sources) -> Path:
    """Return the directory to mount; it is made at the first use, so that no start needs a network.

    Raises:
        BuildFailed: the package index did not answer, or the build broke.

    """
    platform = third_party.native()
    there = directory(platform)
    if there.is_dir():
        return there
    console.say(f"installing the debugger once ({REQUIREMENTS})")
    request = server.Request(platforms=(platform,), images=sources.images, ca=sources.ca)
    selection = third_party.choose(server.BASES, source=request.images, platforms=request.platforms)
    third_party.make(selection, ca=request.ca)
    there.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=there.parent) as temporary:
        output = [f"--target={TARGET}", f"--output=type=local,dest={temporary}/debugger"]
        command = server.argv(
            request, selection.references, otelcol="release", labels={}, output=output
        )
        try:
            process.run(command)
        except CommandFailed as error:
            raise BuildFailed(
                "the debugger was not installed (docker's last lines above say why); run the same command again, or "
                "leave --debug-port out"
            ) from error
        exported = Path(temporary, "debugger")
        exported.chmod(0o755)  # the builder makes it for its own user alone
        shutil.rmtree(there, ignore_errors=True)
        exported.rename(there)
    return there
