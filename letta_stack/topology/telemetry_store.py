"""ClickHouse's volume beside the image that is to work on it: a store of another version is refused before it starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.errors import OtherClickHouse
from letta_stack.topology import inputs
from letta_stack.topology.catalogue import CLICKHOUSE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.project import Project

DIRECTORY = "/var/lib/clickhouse"
# The note is written by the health check, in compose/services/clickhouse.yaml.
VERSIONS = """
echo "$(head -n 1 "$1/letta-stack-version" 2>/dev/null)"
clickhouse-server --version
"""
VERSION = re.compile(r"(?P<product>\S.*?) version (?P<year>\d+)\.(?P<feature>\d+)")
MONTHS = 12
"""ClickHouse's own promise: a version reads what one of the year before it has written; releases are numbered by month."""


@dataclass(frozen=True)
class Version:
    """What a ClickHouse says about itself."""

    product: str
    year: int  # of the century
    feature: int  # the month of the release

    def __str__(self) -> str:
        return f"{self.product} {self.year}.{self.feature}"

    def reads(self, other: Version) -> bool:
        """Tell whether this one can take over what the other has written."""
        age = 12 * (self.year - other.year) + self.feature - other.feature
        return self.product == other.product and 0 <= age <= MONTHS


def check(project: Project, config: inputs.Model, variables: Mapping[str, str]) -> None:
    """Raise ``OtherClickHouse`` if the telemetry was written by a version that the image's ClickHouse may not read.

    ``variables`` name the third-party images. Data that no health check has made a note beside pass.
    """
    service = config["services"].get(CLICKHOUSE.name)
    image = variables.get(CLICKHOUSE.image, "")
    if service is None or inputs.runs(project, CLICKHOUSE.name, image):
        return
    for source in inputs.sources(config, service, DIRECTORY):
        written, _, program = inputs.look(source, image, VERSIONS, "/data").partition("\n")
        found, own = _version(written), _version(program)
        if found and own and not own.reads(found):
            raise OtherClickHouse(
                f"{source} has the telemetry of {found}, and {image} is {own}, which may not read it: set "
                f"{CLICKHOUSE.image} in .env to a version at most {MONTHS} months newer, or give the telemetry up: "
                f"`inv down {project.flags}`, then {_removal(source)}"
            )


def _version(said: str) -> Version | None:
    match = VERSION.search(said)
    return match and Version(match["product"], int(match["year"]), int(match["feature"]))


def _removal(source: str) -> str:
    return f"empty {source}" if source.startswith("/") else f"`docker volume rm {source}`"
