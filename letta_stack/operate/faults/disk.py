"""The database's disk becomes full: a file is written to it, where it is a small disk of its own."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.image import contract
from letta_stack.operate import postgres, table
from letta_stack.operate.faults.model import READ, Expect, Fault
from letta_stack.operate.faults.stack import docker
from letta_stack.topology.catalogue import DATABASE, SERVER
from letta_stack.topology.inputs import DATABASE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_stack.operate.faults.scene import Scene
    from letta_stack.operate.faults.stack import Stack

MIB = 1024**2
MOST = 2048 * MIB  # of what is written
FILLER = "filler"
FILL = f"""
rest=$(($(df -Pk "$1" | awk 'NR == 2 {{ print $4 }}') - $2))
test "$rest" -le 0 || head -c "${{rest}}k" /dev/zero >> "$1/{FILLER}"
"""
# The size of the root file system is that of the engine's disk.
SIZES = "df -Pk / \"$1\" | awk 'NR > 1 { print $2 }'"
REFUSED = 507


@contextlib.contextmanager
def filled(container: str, directory: str, *, leave: int, user: str = "") -> Iterator[None]:
    """Write a file until ``leave`` bytes are left where a directory of a container is; it goes in the end."""
    command = ["docker", "exec", *([f"--user={user}"] if user else []), container]
    try:
        process.capture([*command, "sh", "-c", FILL, "sh", directory, str(leave // 1024)])
        yield
    finally:
        process.capture([*command, "rm", "-f", f"{directory}/{FILLER}"])


def reserve(stack: Stack) -> int:
    """Return how many bytes the servers keep free."""
    server = stack.containers(SERVER)[0]
    lines = json.loads(docker("container", "inspect", "--format={{json .Config.Env}}", server))
    return contract.reserve_size(dict(str(line).partition("=")[::2] for line in lines))


def needs(stack: Stack) -> str:
    """Say why the disk is not filled: it is a large one, or not the database's own."""
    kept = reserve(stack)
    if not kept:
        return f"the servers keep no reserve; see {contract.RESERVE_VARIABLE}"
    container = stack.containers(DATABASE.name)[0]
    command = ["docker", "exec", container, "sh", "-c", SIZES, "sh", DATABASE_DIRECTORY]
    root, own = process.capture(command).split()
    if root == own:
        return "the database's volume is on the engine's own disk, which others need; give it a small one of its own"
    free = int(
        postgres.of(stack.project).value(contract.FREE_SPACE, database=contract.FREE_SPACE_DATABASE)
    )
    if not kept < free < kept + MOST:
        return f"the database's disk has {table.size(free)} free; only up to {table.size(MOST)} are filled"
    return ""


@contextlib.contextmanager
def full(scene: Scene) -> Iterator[None]:
    """Leave half of the reserve."""
    (container,) = scene.stack.containers(DATABASE.name)
    kept = reserve(scene.stack)
    before = len(scene.load.attempts)
    with filled(container, DATABASE_DIRECTORY, leave=kept // 2):
        scene.note(f"{kept // 2 // MIB} MiB are left on the disk of {container}")
        yield
        answers = [one.answer for one in scene.load.attempts[before:]]
        refused = sum(one.status == REFUSED for one in answers)
        scene.require(refused > 0, f"writing was refused with {REFUSED} ({refused} times)")


FAULTS = (
    Fault(
        "disk-full",
        "the database's disk is filled until half of the reserve is left, for 10 s",
        full,
        undo="the file is deleted",
        seconds=10,
        expect=Expect(healthy=30, unaffected=(READ,)),
        needs=needs,
    ),
)
