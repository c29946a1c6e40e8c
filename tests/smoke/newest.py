"""The newest collector that can be built from Go modules: for the tests that run on it as well as on the pinned one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.image import sources, third_party

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = ROOT / "tests" / "smoke" / "newest-collector"
BASE = "GOLANG_IMAGE"
PROGRAM = "otelcol-contrib"


def program(directory: Path) -> Path:
    """Build the collector into a directory, minutes without a cache; return the program."""
    ca = sources.find_ca("", os.environ)
    base = third_party.ensure([BASE], source="auto", ca=ca)[BASE]
    process.run(
        [
            *("docker", "buildx", "build", *third_party.ca_secret(ca)),
            f"--build-arg={BASE}={base}",
            f"--build-context=images={ROOT / 'images' / 'bin'}",
            f"--output=type=local,dest={directory}",
            str(CONTEXT),
        ]
    )
    return directory / PROGRAM
