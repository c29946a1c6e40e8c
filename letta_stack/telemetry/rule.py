"""The image's own rule for the collector's configuration, for a collector on the host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base.paths import ROOT
from letta_stack.errors import BadValue
from letta_stack.image import contract

# isort: split
# The contract has put the start code on the path.
from entrypoint import environment, errors, telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIGURATIONS = ROOT / "otel"
LOG_FILES = "OTEL_LOG_FILES"
SERVER_LOG = ".letta/logs/Letta.log"


def settings(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the settings of the shell, checked; the server's log file is that of a server on this host.

    Raises:
        BadValue: a setting that the container would refuse as well.

    """
    try:
        found = environment.resolve_files(
            environment.drop_empty(given), lambda path: Path(path).read_text(encoding="utf-8")
        )
        telemetry.collector_environment(found)
        telemetry.configuration(found)
    except errors.StartError as error:
        raise BadValue(str(error)) from error
    return {LOG_FILES: str(Path.home() / SERVER_LOG)} | telemetry.collector_settings(found)


def files(chosen: Mapping[str, str]) -> list[str]:
    """Return the names of the files that make up the configuration."""
    return contract.collector_configuration(chosen)
