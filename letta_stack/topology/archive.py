"""Point-in-time recovery as a setting: PostgreSQL with pgBackRest, and the key of its repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from letta_stack.errors import BadSettings
from letta_stack.image import on_postgres
from letta_stack.secrets import archive as secrets
from letta_stack.secrets.store import Store
from letta_stack.topology import archive_store, backups
from letta_stack.topology.catalogue import ARCHIVE, DATABASE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.image.sources import Sources
    from letta_stack.topology.project import Project

VARIABLE = on_postgres.PGBACKREST.variable
ON = "on"
KEY_VARIABLE = "LETTA_STACK_ARCHIVE_KEY"  # where the service that makes backups finds the key
VOLUME = "archive"


def wanted(project: Project) -> bool:
    """Tell whether what PostgreSQL writes is archived. Raises ``BadSettings``."""
    if not project.topology.backups:
        return False
    given = project.setting(VARIABLE)
    if project.setting(archive_store.VARIABLE) and not given:
        raise BadSettings(
            f"{archive_store.VARIABLE} is the place of an archive that nobody asked for; set {VARIABLE}={ON} as well, or unset it"
        )
    if given not in {"", ON}:
        raise BadSettings(
            f"{VARIABLE} is {given!r}; write {VARIABLE}={ON} for point-in-time recovery, or unset it (in .env or the shell)"
        )
    return given == ON


def check(project: Project, config: Mapping[str, Any]) -> None:
    """Raise ``BadSettings`` for a schedule that is none, and for a PostgreSQL that could not archive."""
    backups.check(project)
    archive_store.place(project)
    mine, theirs = (config["services"][name]["image"] for name in (ARCHIVE, DATABASE.name))
    if mine != theirs:
        raise BadSettings(
            f"{DATABASE.name} has an image of your own, {theirs}, and {VARIABLE} wants to add pgBackRest to it: name it "
            f"as POSTGRES_IMAGE in pins.env, not in an override file, or unset {VARIABLE}"
        )


def prepare(project: Project) -> dict[str, str]:
    """Make or check the key of the repository; return the variable by which compose finds it."""
    store = Store.of(project.name)
    volume = f"{project.name}_{VOLUME}"
    place = archive_store.place(project)
    secrets.ensure(
        store,
        repository=volume if volume in project.runner.volumes() else "",
        place=place.options,
        authority=place.authority,
    )
    return {KEY_VARIABLE: str(store.path(secrets.KEY))}


def image(variables: Mapping[str, str], sources: Sources) -> dict[str, str]:
    """Add pgBackRest to the image of PostgreSQL that ``variables`` name; return the variable that names the result."""
    made = on_postgres.ensure(
        on_postgres.PGBACKREST, variables[DATABASE.image], source=sources.images, ca=sources.ca
    )
    return {DATABASE.image: made}
