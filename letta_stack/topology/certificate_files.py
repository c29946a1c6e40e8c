"""Where a project's certificates are, as `inv certs` finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.certs import store
from letta_stack.errors import BadValue

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.topology.project import Project


def directory(project: Project) -> Path:
    """Return the directory of a project's certificates; raise ``BadValue`` if its topology takes none."""
    if not project.topology.tls:
        raise BadValue(
            f"--env {project.topology.name} takes no certificates; those that do: --env prod, --env observability"
        )
    return store.directory(project.name)
