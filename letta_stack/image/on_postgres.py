"""PostgreSQL with another program of Debian's packages beside it: built on the image of the stack, whichever that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import content_hash, process
from letta_stack.base.paths import ROOT
from letta_stack.errors import BuildFailed, CommandFailed
from letta_stack.image import third_party

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Program:
    """What is added."""

    directory: str  # under images/
    name: str  # as its project writes it
    variable: str  # the setting that asks for it


PGBACKREST = Program("pgbackrest", "pgBackRest", "LETTA_STACK_PITR")
PATRONI = Program("patroni", "Patroni", "LETTA_STACK_DATABASE")


def ensure(program: Program, postgres: str, *, source: str, ca: Path | None) -> str:
    """Add a program to the image ``postgres``, unless that was done before; return the name of the result.

    ``source`` says where Debian's image comes from, ``ca`` is for the network. Raises ``BuildFailed``.
    """
    reference = tag(program, postgres)
    if third_party.is_local(reference):
        return reference
    base = third_party.ensure([third_party.DEBIAN], source=source, ca=ca)[third_party.DEBIAN]
    command = [
        *("docker", "buildx", "build", "--provenance=false"),
        f"--file={third_party.IMAGES / program.directory / 'Dockerfile'}",
        f"--build-arg={third_party.DEBIAN}={base}",
        f"--build-arg=POSTGRES_IMAGE={postgres}",
        third_party.into_engine(reference),
        str(third_party.IMAGES),
    ]
    try:
        process.run(command)
    except CommandFailed as error:
        raise BuildFailed(
            f"cannot add {program.name} to {postgres} (the last lines above say why; it has to be of Debian bookworm); "
            f"run the same command again, or unset {program.variable}"
        ) from error
    return reference


def tag(program: Program, postgres: str) -> str:
    """Name the image by what it is built on and how, so that no registry is asked at each start."""
    paths = [third_party.IMAGES / program.directory, third_party.IMAGES / "bin/install-debs"]
    content = content_hash.digest(ROOT, paths, (postgres,))
    return f"letta-stack/{program.directory}:{content[: content_hash.SHORT]}"
