"""`inv engine`: makes sure that a usable engine answers, from the distribution's own packages if it must.

It installs and starts an engine only where none is installed or running, and never restarts one.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, process
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.engine import apt, emulation, inspect
from letta_stack.errors import (
    BuildxMissing,
    ComposeMissing,
    EngineMissing,
    EngineStartFailed,
    EngineStoreWrong,
    EngineTooOld,
    EngineUnreachable,
    LettaStackError,
    WaitTimedOut,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.engine.inspect import Engine

START_SECONDS = 90.0
BUILD_CACHE = "20GB"  # twice what all images of this project leave there
DAEMON_JSON = Path("/etc/docker/daemon.json")
DAEMON_LOG = Path("/var/log/dockerd.log")
APT_DIR = Path("/etc/apt")
SYSTEMD_RUNS = Path("/run/systemd/system")

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


def ensure(*, check: bool = False) -> Engine:
    """Return a usable engine, making one if needed and possible; with ``check`` nothing is changed."""
    machine = Machine.look()
    try:
        found = inspect.require()
    except (EngineMissing, EngineUnreachable, BuildxMissing, ComposeMissing) as problem:
        if check:
            raise
        repair(problem, machine)
        found = inspect.require()
    console.result(str(found))
    helpers(machine, check=check)
    return found


def repair(problem: LettaStackError, machine: Machine) -> None:
    """Install or start what ``problem`` misses, or raise it again with the step that is left to the user."""
    remote = os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT")
    if isinstance(problem, EngineUnreachable) and (remote or not machine.root):
        raise problem
    if not machine.installs or not machine.root:
        raise advise(problem, machine)
    packages = packages_for(machine)
    match problem:
        case BuildxMissing() | ComposeMissing():
            install(plugin_packages(packages), machine)
        case EngineUnreachable() if shutil.which("dockerd"):
            check_installed_engine()
            start()
        case _:
            write_daemon_json(DAEMON_JSON)
            install(packages.all, machine)
            start()


def advise(problem: LettaStackError, machine: Machine) -> LettaStackError:
    """Say what is left to the user when this machine is not one that packages are installed on."""
    if not isinstance(problem, EngineMissing):
        return problem
    if machine.installs:
        return EngineMissing("no container engine here; run `inv engine` as root, it installs one")
    system = machine.distribution or "this system"
    return EngineMissing(
        f"no container engine here, and none can be installed on {system} by this command; install "
        "Docker Engine 26 or newer with its buildx and compose plugins"
    )


def plugin_packages(packages: Packages) -> tuple[str, ...]:
    """Name the plugin packages that go with the engine that is installed."""
    if installed("docker-ce"):  # Docker's own repository, whose plugins have other names
        return ("docker-buildx-plugin", "docker-compose-plugin")
    return (packages.buildx, packages.compose)


def check_installed_engine() -> None:
    """Raise if the engine that is installed, but not running, is too old to be started."""
    text = process.capture(["dockerd", "--version"])
    if inspect.parse_version(text) < inspect.OLDEST_ENGINE:
        raise EngineTooOld(
            f"the installed engine is too old ({text.strip()}); upgrade it to "
            f"{inspect.render(inspect.OLDEST_ENGINE)} or newer, or remove it and run `inv engine` again"
        )
    write_daemon_json(DAEMON_JSON)


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
    write(APT_DIR / "preferences.d" / "letta-stack-engine", apt.pin(FROM_SUITE, suite=suite))
    write(
        APT_DIR / "sources.list.d" / "letta-stack-engine.sources",
        "\n".join(source.render() for source in derived),
    )


def read_sources(path: Path) -> list[apt.Source]:
    """Read one file of apt's, in either format."""
    if not path.is_file() or path.suffix not in {".list", ".sources"}:
        return []
    text = path.read_text(encoding="utf-8")
    return apt.parse_list(text) if path.suffix == ".list" else apt.parse_deb822(text)


def write_daemon_json(path: Path) -> None:
    """Write what an engine needs for this project into its settings, keeping everything that is there."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    wanted = with_needed_settings(text, path)
    if wanted is not None:
        write(path, wanted)


def with_needed_settings(text: str, path: Path) -> str | None:
    """Return the settings with the containerd image store on and a limit for the build cache, None if both are there.

    Somebody's own settings of the builder stay as they are.
    """
    try:
        settings: dict[str, Any] = json.loads(text or "{}")
        features: dict[str, Any] = dict(settings.get("features", {}))
    except (json.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
        raise EngineStoreWrong(
            f"{path} is not the JSON that an engine reads ({error}); correct it"
        ) from error
    if features.setdefault("containerd-snapshotter", True) is not True:
        raise EngineStoreWrong(
            f"{path} turns the containerd image store off, so somebody wants that; set "
            "features.containerd-snapshotter to true there and run `inv engine` again"
        )
    # Without a limit the cache takes what the disk has.
    builder = settings.get("builder", {"gc": {"enabled": True, "defaultKeepStorage": BUILD_CACHE}})
    wanted = {**settings, "features": features, "builder": builder}
    return None if wanted == settings else json.dumps(wanted, indent=2) + "\n"


def write(path: Path, text: str) -> None:
    """Replace a system file in one step, and say so."""
    console.say(f"writing {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.letta-stack")  # apt ignores it: no known suffix
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(path)


def start() -> None:
    """Start the engine that is installed, with systemd where that runs, and wait until it answers."""
    if answers():
        return  # installing the package has started it
    if SYSTEMD_RUNS.is_dir():
        process.run(["systemctl", "enable", "--now", "docker.service"])
        log = "journalctl -u docker.service"
    else:
        pid = process.spawn(["dockerd"], log=DAEMON_LOG)
        console.say(f"started dockerd (pid {pid}; log {DAEMON_LOG}; stop it with `kill {pid}`)")
        log = str(DAEMON_LOG)
    with Progress("waiting for the engine"):
        try:
            wait_until(answers, timeout=START_SECONDS, describe="no answer")
        except WaitTimedOut as error:
            raise EngineStartFailed(
                f"the engine does not answer {START_SECONDS:g} s after its start; the reason is at "
                f"the end of {log}"
            ) from error


def answers() -> bool:
    """Say whether an engine answers, whatever its state."""
    return process.probe(
        ["docker", "version", "--format", "{{.Server.Version}}"], timeout=inspect.ANSWER_SECONDS
    ).ok


def helpers(machine: Machine, *, check: bool) -> None:
    """Bring what is not part of the engine: it can be had without touching anybody's containers.

    Whatever cannot be had here is said in a line, for it is needed only to rebuild images without a registry
    and to run images of the other architecture.
    """
    able = machine.installs and machine.root and not check
    if able:
        install(packages_for(machine).helpers, machine)
    if shutil.which("mmdebstrap") is None:
        console.say(
            "mmdebstrap is missing: `--images debian` cannot work here (needed only without a registry)"
        )
    console.result(emulation.ensure(change=able))
