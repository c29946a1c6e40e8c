"""Where the host's collector is at home, and which platforms it exists for."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from letta_stack.base.paths import ROOT
from letta_stack.errors import UnsupportedPlatform

SYSTEMS = ("linux", "darwin")
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
DEFAULT_DIRECTORY = ROOT / ".letta-stack" / "otelcol"


@dataclass(frozen=True)
class Layout:
    """The files of one collector on the host."""

    directory: Path

    @property
    def program(self) -> Path:
        """The collector itself."""
        return self.directory / "otelcol-contrib"

    @property
    def checksum(self) -> Path:
        """SHA-256 of the program as it was installed."""
        return self.directory / "otelcol-contrib.sha256"

    @property
    def pid(self) -> Path:
        """The process number while it runs."""
        return self.directory / "otelcol.pid"

    @property
    def log(self) -> Path:
        """What it writes."""
        return self.directory / "otelcol.log"

    @property
    def data(self) -> Path:
        """Telemetry files and queues."""
        return self.directory / "data"

    @classmethod
    def of(cls, directory: str) -> Layout:
        """Return the layout in the user's directory, or in the checkout's own."""
        return cls(Path(directory).expanduser().resolve() if directory else DEFAULT_DIRECTORY)


@dataclass(frozen=True)
class HostPlatform:
    """Operating system and processor, in the words of the collector's releases."""

    system: str
    architecture: str


def detect(system: str = "", machine: str = "") -> HostPlatform:
    """Return this machine's platform. Raises UnsupportedPlatform."""
    system = system or platform.system()
    machine = machine or platform.machine()
    architecture = ARCHITECTURES.get(machine.lower())
    if system.lower() not in SYSTEMS or architecture is None:
        known = ", ".join(
            f"{one}/{other}" for one in SYSTEMS for other in sorted(set(ARCHITECTURES.values()))
        )
        raise UnsupportedPlatform(
            f"no collector for {system} on {machine}; there is one for {known}. Run it in a container instead: "
            "docker run letta-stack/letta collector"
        )
    return HostPlatform(system.lower(), architecture)
