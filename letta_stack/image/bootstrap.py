"""The native Debian system that unpacks the base of the images from Debian packages."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from letta_stack.base import content_hash, process
from letta_stack.base.paths import ROOT
from letta_stack.errors import BootstrapMissing

# Documentation is left out as in Debian's own slim images.
COMMAND = (
    "mmdebstrap",
    "--quiet",
    "--variant=minbase",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    "--include=usr-is-merged",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "bookworm",
)


def reference(platform: str) -> str:
    """Name the system for this machine's platform by how it is made."""
    content = content_hash.digest(ROOT, (), (*COMMAND, platform))
    return f"letta-stack/bootstrap:{content[: content_hash.SHORT]}"


def make(name: str) -> None:
    """Make it with mmdebstrap, and load it into the engine under a name.

    Raises:
        BootstrapMissing: mmdebstrap is not installed.
        CommandFailed: it, or the engine, failed.

    """
    if shutil.which(COMMAND[0]) is None:
        raise BootstrapMissing(
            "images from Debian packages need mmdebstrap, which is not installed; `inv engine` as root "
            "installs it on Debian or Ubuntu, or use --images hub"
        )
    with tempfile.TemporaryDirectory() as temporary:
        tarball = str(Path(temporary, "rootfs.tar"))
        process.run([*COMMAND, tarball])
        process.run(["docker", "import", tarball, name])
