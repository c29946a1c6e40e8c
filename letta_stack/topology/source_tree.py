"""`--env hot`: the modules of the user's source tree in the place of those of the image."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from letta_stack.errors import BadValue
from letta_stack.image import debugger, server, version
from letta_stack.pins.file import Pins
from letta_stack.topology.project import DEBUG_PORT_VARIABLE, check_port

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.image.sources import Sources
    from letta_stack.topology.project import Project

ROOT_UID = 0


def mount(project: Project, sources: Sources, *, debug_port: str = "") -> tuple[Project, Sources]:
    """Return the project with the source tree as a mount, and the sources of an image without it.

    A topology that has no use for a mounted tree is returned as it is: there `--letta-source` is built into the image.
    ``debug_port`` is the port of this machine for a debugger, "" for none.

    Raises:
        BadValue: the topology needs a source tree, and none was given; or it has no debugger; or that is no port.
        BadSource: the directory is not the source tree of a Letta server.
        VersionsDisagree: it is the source tree of another version than the image's.

    """
    if not project.topology.mounts_source:
        if debug_port:
            raise BadValue(f"--debug-port: {project.topology.name} has no debugger; use --env hot")
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
    if debug_port:
        variables[DEBUG_PORT_VARIABLE] = check_port("--debug-port", debug_port)
    return project.with_variables(variables), replace(sources, letta_source=None)


def with_debugger(project: Project, sources: Sources) -> Project:
    """Return the project with what its debugger needs, if it is to have one; raise ``BuildFailed``."""
    if DEBUG_PORT_VARIABLE not in project.variables:
        return project
    return project.with_variables({"LETTA_STACK_DEBUGGER": str(debugger.prepare(sources))})


def user(source: Path) -> str:
    """Return who the server runs as: the caller, or for root the owner of the tree; "" is the image's own user."""
    owner = source.stat()
    uid, gid = (
        (os.getuid(), os.getgid()) if os.getuid() != ROOT_UID else (owner.st_uid, owner.st_gid)
    )
    return f"{uid}:{gid}" if ROOT_UID not in {uid, gid} else ""
