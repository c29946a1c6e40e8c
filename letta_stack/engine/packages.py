"""What an engine consists of on a machine of a distribution, and how the distribution's own tool installs it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console, process
from letta_stack.base.files import replace
from letta_stack.engine import apt
from letta_stack.errors import EngineMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

APT_DIR = Path("/etc/apt")

# Debian 12 has engine 20.10, which knows neither the containerd store nor compose v2. Debian 13's packages need only
# a C library that 12 has; these and nothing else are taken from there.
SUITE_FOR = {"bookworm": "trixie"}
FROM_SUITE = ("docker.io", "docker-cli", "containerd", "docker-buildx", "docker-compose")


@dataclass(frozen=True)
class Machine:
    """What decides how an engine can be installed here."""

    distribution: str  # ID of /etc/os-release
    codename: str
    root: bool

    @classmethod
    def look(cls) -> Machine:
        """Read this machine."""
        path = Path("/etc/os-release")
        release = parse_os_release(path.read_text(encoding="utf-8") if path.is_file() else "")
        return cls(
            distribution=release.get("ID", ""),
            codename=release.get("VERSION_CODENAME", ""),
            root=os.geteuid() == 0,
        )

    @property
    def installs(self) -> bool:
        """Whether this project knows how to install packages here."""
        return self.distribution in {"debian", "ubuntu"}


@dataclass(frozen=True)
class Packages:
    """The distribution's names for what is needed."""

    engine: tuple[str, ...]
    buildx: str
    compose: str
    # Not the engine's: mmdebstrap makes the Debian rootfs when no registry answers, qemu runs the other architecture.
    helpers: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Everything that a machine with nothing needs."""
        return (*self.engine, self.buildx, self.compose, *self.helpers)


def packages_for(machine: Machine) -> Packages:
    """Name the packages of the machine's distribution."""
    if machine.distribution == "ubuntu":
        return Packages(
            engine=("docker.io", "iptables", "ca-certificates"),
            buildx="docker-buildx",
            compose="docker-compose-v2",
            helpers=("mmdebstrap", "qemu-user-static"),
        )
    emulator = "qemu-user-static" if machine.codename == "bookworm" else "qemu-user-binfmt"
    return Packages(
        # Without recommended packages Debian's engine comes without its client, which is a package of its own.
        engine=("docker.io", "docker-cli", "containerd", "iptables", "ca-certificates"),
        buildx="docker-buildx",
        compose="docker-compose",
        helpers=("mmdebstrap", emulator),
    )


def parse_os_release(text: str) -> dict[str, str]:
    """Read /etc/os-release."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip().strip("\"'") for key, value in pairs}


def plugins(packages: Packages) -> tuple[str, ...]:
    """Name the plugin packages that go with the engine that is installed."""
    if installed("docker-ce"):  # Docker's own repository, whose plugins have other names
        return ("docker-buildx-plugin", "docker-compose-plugin")
    return (packages.buildx, packages.compose)


def installed(package: str) -> bool:
    """Ask dpkg."""
    status = process.probe(["dpkg-query", "-W", "-f", "${db:Status-Status}", package])
    return status.stdout == "installed"


def install(packages: Sequence[str], machine: Machine) -> None:
    """Install what is missing of ``packages``, with the distribution's own tool."""
    missing = [package for package in packages if not installed(package)]
    if not missing:
        return
    console.say(f"installing {', '.join(missing)}")
    if set(missing) & set(FROM_SUITE):
        add_suite(machine)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    process.run(["apt-get", "update", "-q"], env=quiet)
    process.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], env=quiet)


def add_suite(machine: Machine) -> None:
    """Let apt see the suite that the engine is taken from, for the engine's packages alone."""
    suite = SUITE_FOR.get(machine.codename)
    if suite is None:
        return
    files = [*(APT_DIR / "sources.list.d").glob("*"), APT_DIR / "sources.list"]
    sources = [source for path in files for source in read_sources(path)]
    derived = apt.derive(sources, old=machine.codename, new=suite)
    if any(suite in source.suites for source in sources):
        return  # the administrator has the suite already, with priorities of their own
    if not derived:
        raise EngineMissing(
            f"apt has no source for {machine.codename} to derive one for {suite} from; add your "
            "mirror to /etc/apt/sources.list and run `inv engine` again"
        )
    replace(APT_DIR / "preferences.d" / "letta-stack-engine", apt.pin(FROM_SUITE, suite=suite))
    replace(
        APT_DIR / "sources.list.d" / "letta-stack-engine.sources",
        "\n".join(source.render() for source in derived),
    )


def read_sources(path: Path) -> list[apt.Source]:
    """Read one file of apt's, in either format."""
    if not path.is_file() or path.suffix not in {".list", ".sources"}:
        return []
    text = path.read_text(encoding="utf-8")
    return apt.parse_list(text) if path.suffix == ".list" else apt.parse_deb822(text)
