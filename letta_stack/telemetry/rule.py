"""The image's own rule for the collector's configuration, for a collector on the host."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base.paths import ROOT
from letta_stack.errors import BadValue

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRYPOINT = ROOT / "rootfs/opt/letta-stack"
CONFIGURATIONS = ROOT / "otel"
LOG_FILES = "OTEL_LOG_FILES"
SERVER_LOG = ".letta/logs/Letta.log"


def load(module: str) -> Any:
    """Import a module of the image's start code."""
    if str(ENTRYPOINT) not in sys.path:
        sys.path.append(str(ENTRYPOINT))
    return importlib.import_module(f"entrypoint.{module}")


def settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the settings of the shell, checked; the server's log file is that of a server on this host.

    Raises:
        BadValue: a setting that the container would refuse as well.

    """
    telemetry, start_errors = load("telemetry"), load("errors")
    resolve = load("environment")
    try:
        found = resolve.resolve_files(
            resolve.drop_empty(environment), lambda path: Path(path).read_text(encoding="utf-8")
        )
        telemetry.collector_environment(found)
        telemetry.configuration(found)
    except start_errors.StartError as error:
        raise BadValue(str(error)) from error
    result: dict[str, str] = telemetry.collector_settings(found)
    return {LOG_FILES: str(Path.home() / SERVER_LOG)} | result


def files(chosen: Mapping[str, str]) -> list[str]:
    """Return the names of the files that make up the configuration."""
    names: list[str] = load("telemetry").configuration(chosen)
    return names
