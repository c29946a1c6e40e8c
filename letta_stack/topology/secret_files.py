"""The secret files of a project, as `inv up` and `inv secrets` find them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from letta_stack.base import console
from letta_stack.errors import BadSecret, BadValue
from letta_stack.secrets import kinds, monitoring
from letta_stack.secrets.store import NEW, OLD, Store
from letta_stack.topology import members
from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.project import Project

GIVEN = "x-given"
"""What of the user's environment a topology with secret files does not take, as its fragment lists it."""


def store(project: Project) -> Store:
    """Return the secrets of a project; raise ``BadValue`` if its topology has none."""
    if not project.topology.secrets:
        raise BadValue(
            f"--env {project.topology.name} keeps no secrets here; its container makes them, see README"
        )
    return Store.of(project.name)


def prepare(project: Project) -> dict[str, str]:
    """Make or check the secrets; return the variables by which compose finds them."""
    mine = store(project)
    there = project.runner.volumes()
    data = [f"{project.name}_db", *(f"{project.name}_{one}" for one in members.VOLUMES)]
    mine.ensure(data=next((name for name in data if name in there), ""))
    if project.topology.monitoring:
        monitoring.ensure(mine)
    for name in unfinished(project, mine):
        console.say(
            f"the rotation of {name} was interrupted; finish it: inv secrets.rotate {name} {project.flags}"
        )
    return mine.variables


def unfinished(project: Project, mine: Store) -> list[str]:
    """Return the secrets whose rotation did not come to its end."""
    return [
        name
        for name in names(project)
        if mine.path(name + NEW).exists() or mine.path(name + OLD).exists()
    ]


def show_all(project: Project) -> None:
    """Print name, age and file of each secret."""
    mine = store(project)
    rotating = unfinished(project, mine)
    for name in names(project):
        path = mine.path(name)
        if not path.exists():
            console.result(f"{name:19}  not made yet; `inv up {project.flags}` makes it")
            continue
        changed = dt.datetime.fromtimestamp(path.stat().st_mtime, tz=dt.UTC)
        note = "  rotation not finished" if name in rotating else ""
        console.result(f"{name:19}  {changed:%Y-%m-%d %H:%M} UTC  {path}{note}")


def names(project: Project) -> tuple[str, ...]:
    """Return the names of the secrets that a project has."""
    return (*kinds.NAMES, *(monitoring.NAMES if project.topology.monitoring else ()))


def check_name(project: Project, name: str) -> str:
    """Return ``name`` if a secret of the project has it; raise ``BadValue``."""
    if name not in names(project):
        raise BadValue(f"there is no secret {name!r}; use one of: {', '.join(names(project))}")
    return name


def show(project: Project, name: str) -> None:
    """Print one secret; raise ``BadValue`` or ``SecretsLost`` if there is none of that name."""
    console.result(store(project).read(check_name(project, name)))


def single_source(config: Mapping[str, Any]) -> None:
    """Raise ``BadSecret`` if .env or the shell gives what the files give."""
    given = [
        name for name, text in config["services"].get(SERVER, {}).get(GIVEN, {}).items() if text
    ]
    if given:
        raise BadSecret(
            f"{', '.join(given)} is set in .env or the shell, but this topology takes it from a file in .secrets/ "
            "or has its own; unset it there (your own value goes into the file)"
        )
