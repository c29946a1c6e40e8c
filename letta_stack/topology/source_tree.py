"""`--env hot`: the modules of the user's source tree in the place of those of the image."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from letta_stack.errors import BadValue
from letta_stack.image import server, version
from letta_stack.pins.file import Pins

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.image.sources import Sources
    from letta_stack.topology.project import Project

ROOT_UID = 0


def mount(project: Project, sources: Sources) -> tuple[Project, Sources]:
    """Return the project with the source tree as a mount, and the sources of an image without it.

    A topology that has no use for a mounted tree is returned as it is: there `--letta-source` is built into the image.

    Raises:
        BadValue: the topology needs a source tree, and none was given.
        BadSource: the directory is not the source tree of a Letta server.
        VersionsDisagree: it is the source tree of another version than the image's.

    """
    if not project.topology.mounts_source:
        return project, sources
    source = sources.letta_source
    if source is None:
        raise BadValue(
            f"--env {project.topology.name} needs --letta-source DIR, the root of a Letta source tree"
        )
    pin = Pins.load()["LETTA_VERSION"]
    found = server.check_source(source)
    # The dependencies and the migrations are the image's.
    version.agree(version.parse(pin), {str(source / "pyproject.toml"): found})
    variables = {"LETTA_STACK_SOURCE": str(source), "LETTA_STACK_USER": user(source)}
    return project.with_variables(variables), replace(sources, letta_source=None)


def user(source: Path) -> str:
    """Return who the server runs as: the caller, or for root the owner of the tree; "" is the image's own user."""
    owner = source.stat()
    uid, gid = (
        (os.getuid(), os.getgid()) if os.getuid() != ROOT_UID else (owner.st_uid, owner.st_gid)
    )
    return f"{uid}:{gid}" if ROOT_UID not in {uid, gid} else ""
