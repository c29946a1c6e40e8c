"""The PostgreSQL that archives what it writes: the image of the stack, whichever it is, with pgBackRest from Debian's packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import content_hash, process
from letta_stack.base.paths import ROOT
from letta_stack.errors import BuildFailed, CommandFailed
from letta_stack.image import third_party

if TYPE_CHECKING:
    from pathlib import Path

NAME = "pgbackrest"


def ensure(postgres: str, *, source: str, ca: Path | None) -> str:
    """Build it on the image ``postgres``, unless that was done before; return its name.

    ``source`` says where Debian's image comes from, ``ca`` is for the network. Raises ``BuildFailed``.
    """
    reference = tag(postgres)
    if third_party.is_local(reference):
        return reference
    base = third_party.ensure([third_party.DEBIAN], source=source, ca=ca)[third_party.DEBIAN]
    command = [
        *("docker", "buildx", "build", "--provenance=false"),
        f"--file={third_party.IMAGES / NAME / 'Dockerfile'}",
        f"--build-arg={third_party.DEBIAN}={base}",
        f"--build-arg=POSTGRES_IMAGE={postgres}",
        third_party.into_engine(reference),
        str(third_party.IMAGES),
    ]
    try:
        process.run(command)
    except CommandFailed as error:
        raise BuildFailed(
            f"cannot add pgBackRest to {postgres} (the last lines above say why; it has to be of Debian bookworm); "
            "run the same command again, or unset LETTA_STACK_PITR"
        ) from error
    return reference


def tag(postgres: str) -> str:
    """Name the image by what it is built on and how, so that no registry is asked at each start."""
    paths = [third_party.IMAGES / NAME, third_party.IMAGES / "bin/install-debs"]
    content = content_hash.digest(ROOT, paths, (postgres,))
    return f"letta-stack/{NAME}:{content[: content_hash.SHORT]}"
