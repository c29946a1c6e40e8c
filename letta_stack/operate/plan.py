"""What a deployment would do: looked up before anything changes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import CommandFailed, DeployRefused
from letta_stack.image import version
from letta_stack.topology.deployed import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION_LABEL = "org.opencontainers.image.version"
PYTHON = "/usr/bin/python3"
# What replicas of the version before would notice, while both run.
BREAKING = re.compile(r"\bop\.(drop_\w+|alter_column|rename_table)\b")
READ = """
import json, pathlib, re
rows = []
for path in pathlib.Path("/opt/letta/alembic/versions").glob("*.py"):
    text = path.read_text()
    found = dict(re.findall(r"(?m)^(down_revision|revision)\\b[^=]*=\\s*(?:[\\"']([0-9a-f]+)[\\"']|None)", text))
    rows.append([found.get("revision", ""), found.get("down_revision", ""), text.partition("def downgrade")[0]])
print(json.dumps(rows))
"""


@dataclass(frozen=True)
class Image:
    """An image that could be deployed."""

    reference: str
    digest: str
    architecture: str
    letta_version: str

    @property
    def tag(self) -> str:
        """A name that is this image's for ever."""
        return f"{REPOSITORY}:{self.digest.removeprefix('sha256:')[:16]}"


@dataclass(frozen=True)
class Migration:
    """What is between the schema of the database and that of an image."""

    steps: tuple[str, ...]
    breaking: tuple[str, ...]  # those of the steps that the present replicas would notice


def image(reference: str) -> Image:
    """Look an image up on the engine. Raises ``DeployRefused``, ``LettaCode``, ``BadVersion``."""
    try:
        (facts,) = json.loads(process.capture(["docker", "image", "inspect", reference]))
    except CommandFailed as error:
        raise DeployRefused(
            f"{reference} is not on this engine ({error.last_line}); `docker pull` it, or make it: `inv build`"
        ) from error
    label = ((facts.get("Config") or {}).get("Labels") or {}).get(VERSION_LABEL)
    if not label:
        raise DeployRefused(
            f"{reference} has no label {VERSION_LABEL}, so it is no image of letta-stack; make one: `inv build`"
        )
    version.check_supported(version.parse(label))
    return Image(reference, facts["Id"], facts["Architecture"], label)


def migration(revision: str, rows: Sequence[Sequence[str]]) -> Migration:
    """Find the way from a revision of the schema to the newest one of ``rows`` (revision, parent, text).

    Raises ``DeployRefused`` if the image does not know the revision.
    """
    texts = {own: text for own, _, text in rows}
    parents: Mapping[str, str] = {own: parent for own, parent, _ in rows}
    heads = set(parents) - set(parents.values())
    if revision and revision not in parents:
        raise DeployRefused(
            f"the database is at revision {revision}, which this image does not know: it was used by a newer server; "
            "deploy that one, or restore the backup from before it (`inv backup.list`)"
        )
    steps: list[str] = []
    current = min(heads) if heads else ""
    while current and current != revision:
        steps.append(current)
        current = parents[current]
    steps.reverse()
    return Migration(tuple(steps), tuple(one for one in steps if BREAKING.search(texts[one])))


def migrations_of(reference: str) -> list[list[str]]:
    """Read the migrations of an image."""
    options = ["--rm", "--network=none", "--pull=never", f"--entrypoint={PYTHON}"]
    return read(["docker", "run", *options, reference])


def read(python: Sequence[str]) -> list[list[str]]:
    """Read the migrations of an image; ``python`` is the command that runs its interpreter. Raises ``CommandFailed``."""
    rows: list[list[str]] = json.loads(process.capture([*python, "-IS", "-c", READ]))
    return rows


def summary(one: Image, *, replicas: int, now: Sequence[str], needed: Migration) -> list[str]:
    """Say what would be done, in lines."""
    lines = [
        f"image      {one.reference} ({one.digest[7:19]}, Letta {one.letta_version})",
        f"replicas   {replicas} new ones beside {', '.join(now) or 'none'}; those end their requests and go",
    ]
    return [*lines, described(needed)]


def described(needed: Migration) -> str:
    """Say in a line what would be done to the schema."""
    if not needed.steps:
        return "migration  none"
    kind = "with a maintenance window" if needed.breaking else "while the present replicas run"
    return f"migration  {len(needed.steps)} steps, {kind}: {', '.join(needed.steps)}"


def refuse_breaking(needed: Migration) -> None:
    """Raise ``DeployRefused`` if the present replicas would not survive the migration."""
    if needed.breaking:
        raise DeployRefused(
            f"the present replicas would not survive {len(needed.breaking)} steps of the migration "
            f"({', '.join(needed.breaking)}); allow a pause: --maintenance"
        )
