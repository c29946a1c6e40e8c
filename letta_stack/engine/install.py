"""`inv engine`: makes sure that a usable engine answers, from the distribution's own packages if it must.

It installs and starts an engine only where none is installed or running, and never restarts one.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from letta_stack.base import console
from letta_stack.engine import daemon, emulation, inspect, packages
from letta_stack.engine.packages import Machine
from letta_stack.errors import (
    BuildxMissing,
    ComposeMissing,
    EngineMissing,
    EngineUnreachable,
    LettaStackError,
)

if TYPE_CHECKING:
    from letta_stack.engine.inspect import Engine


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
    named = packages.packages_for(machine)
    match problem:
        case BuildxMissing() | ComposeMissing():
            packages.install(packages.plugins(named), machine)
        case EngineUnreachable() if shutil.which("dockerd"):
            daemon.check_installed()
            daemon.start()
        case _:
            daemon.write_settings(daemon.SETTINGS)
            packages.install(named.all, machine)
            daemon.start()


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


def helpers(machine: Machine, *, check: bool) -> None:
    """Bring what is not part of the engine: it can be had without touching anybody's containers.

    Whatever cannot be had here is said in a line, for it is needed only to rebuild images without a registry
    and to run images of the other architecture.
    """
    able = machine.installs and machine.root and not check
    if able:
        packages.install(packages.packages_for(machine).helpers, machine)
    if shutil.which("mmdebstrap") is None:
        console.say(
            "mmdebstrap is missing: `--images debian` cannot work here (needed only without a registry)"
        )
    console.result(emulation.ensure(change=able))
