"""`--database ha`: PostgreSQL as several members under Patroni, as a setting that a project keeps once it has such data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from letta_stack.base.paths import STATE
from letta_stack.certs import store as certificates
from letta_stack.errors import BadValue, NotWithMembers, OtherDatabase
from letta_stack.image import on_postgres
from letta_stack.secrets import members as secrets
from letta_stack.secrets.store import Store
from letta_stack.topology import archive, deployed
from letta_stack.topology.catalogue import DATABASE, MEMBERS, with_members

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from letta_stack.image.sources import Sources
    from letta_stack.topology.project import Project

VARIABLE = on_postgres.PATRONI.variable
HA = "ha"
ONE_VOLUME = "db"  # of a single PostgreSQL
VOLUMES = tuple(one.name.removeprefix("letta-") for one in MEMBERS)
GUIDE = "docs/topologies/ha.md"


def choose(project: Project, given: str = "") -> Project:
    """Return the project with the database that `--database`, the shell, `.env` or its last start asks for.

    ``given`` is the flag's value. Raises ``BadValue``.
    """
    if not project.topology.backups:
        if given:
            raise BadValue(
                f"--database: {project.topology.name} has no choice of databases; use --env prod"
            )
        return project
    kind = given or project.setting(VARIABLE) or remembered(project.name)
    if not kind:
        return project
    if kind != HA:
        raise BadValue(
            f"{'--database' if given else VARIABLE} {kind!r} is no database of {project.topology.name}; use {HA}, or leave "
            "it out for one PostgreSQL"
        )
    variables = {**project.variables, VARIABLE: HA}
    return replace(project, topology=with_members(project.topology), variables=variables)


def check(project: Project) -> None:
    """Refuse what a database of several members cannot do, and data of the other kind.

    Raises ``NotWithMembers``, ``OtherDatabase``.
    """
    if not project.topology.backups:
        return
    volumes = project.runner.volumes()
    one = f"{project.name}_{ONE_VOLUME}"
    several = [name for name in (f"{project.name}_{each}" for each in VOLUMES) if name in volumes]
    if not project.topology.members:
        if several:
            raise OtherDatabase(
                f"{project.name} has its data in {', '.join(several)}, and would start with an empty database beside them: "
                f"add --database {HA}, or set {VARIABLE}={HA} in .env"
            )
        return
    if one in volumes and not several:
        raise OtherDatabase(
            f"{project.name} has its data in {one}, which --database {HA} does not use: bring them over into a project of "
            f"another name by a backup, see {GUIDE}"
        )
    if archive.wanted(project):
        raise NotWithMembers(
            f"{archive.VARIABLE}={archive.ON} archives what one PostgreSQL writes, and {project.name} has several; unset it "
            "and keep backups (`inv backup.create`)"
        )
    if certificates.has_internal(project.name):
        raise NotWithMembers(
            f"{certificates.directory(project.name) / certificates.INTERNAL} asks for TLS between server and PostgreSQL, which "
            f"--database {HA} has not; remove the directory, or use one PostgreSQL"
        )


def prepare(project: Project) -> None:
    """Make or check the passwords with which members know each other, and remember the choice. Raises ``SecretsLost``."""
    volumes = project.runner.volumes()
    data = next((name for name in volumes if name == f"{project.name}_{VOLUMES[0]}"), "")
    secrets.ensure(Store.of(project.name), data=data)
    deployed.write(path(project.name), HA)


def image(variables: Mapping[str, str], sources: Sources) -> dict[str, str]:
    """Add Patroni to the image of PostgreSQL that ``variables`` name; return the variable that names the result."""
    made = on_postgres.ensure(
        on_postgres.PATRONI, variables[DATABASE.image], source=sources.images, ca=sources.ca
    )
    return {DATABASE.image: made}


def path(project: str) -> Path:
    """Return where the choice is kept."""
    return STATE / project / "database"


def remembered(project: str) -> str:
    """Return what a project was started with, "" for one PostgreSQL."""
    file = path(project)
    return file.read_text(encoding="ascii").strip() if file.is_file() else ""


def forget(project: str) -> None:
    """Let the next start choose: the data are gone."""
    path(project).unlink(missing_ok=True)
