"""An upgrade between two versions of PostgreSQL that has begun: where the data are meanwhile."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from letta_stack.base.paths import STATE
from letta_stack.errors import UpgradeUnfinished
from letta_stack.topology import deployed

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.topology.project import Project


@dataclass(frozen=True)
class Unfinished:
    """Written when the copy is whole, deleted when the new data are proved, or the old ones are back."""

    data: str  # volume or path that is emptied for the new version
    aside: str  # volume with the copy of what was there
    image: str  # that worked on it


def path(project: str) -> Path:
    """Return where it is written down."""
    return STATE / project / "upgrading.json"


def unfinished(project: str) -> Unfinished | None:
    """Return what a killed command left."""
    file = path(project)
    return Unfinished(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def begin(project: str, one: Unfinished) -> None:
    """Remember it."""
    deployed.write(path(project), json.dumps(asdict(one), indent=1))


def end(project: str) -> None:
    """Forget it."""
    path(project).unlink(missing_ok=True)


def refuse(project: Project) -> None:
    """Raise ``UpgradeUnfinished`` if a server would start on something else than its data."""
    if one := unfinished(project.name):
        raise UpgradeUnfinished(
            f"an upgrade of {project.name} was interrupted, and its data are in the volume {one.aside}; run "
            f"`inv upgrade {project.flags}` again, which puts them back and begins anew"
        )
