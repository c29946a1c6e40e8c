"""Brings a project's own database to another major version of PostgreSQL: dump and restore, the old data kept aside.

1. everything stops; a PostgreSQL of the old image dumps from a copy of the data
2. the data are copied to a volume of their own, then their place is emptied; both are written down first
3. the project starts with the new image and an empty database; the dump is restored and compared beside it, and switched to
4. what fails puts the old data back
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from letta_stack.base import console, process
from letta_stack.base.paths import STATE
from letta_stack.base.progress import Progress
from letta_stack.errors import BackupNoRoom, LettaStackError, UpgradeFailed
from letta_stack.operate import backup as backups
from letta_stack.operate import dump, postgres
from letta_stack.operate.adopt import copied, facts, load, source, switch
from letta_stack.operate.adopt.place import Place
from letta_stack.operate.holders.one_host import OneHost
from letta_stack.topology import lifecycle, upgrading
from letta_stack.topology.upgrading import Unfinished

if TYPE_CHECKING:
    from letta_stack.image.sources import Sources
    from letta_stack.operate.dump import Settings
    from letta_stack.topology.inputs import Data
    from letta_stack.topology.project import Project

FRESH = "letta_restore_upgraded"  # see run.py
COPIES = 3  # for the dump, to keep aside, and the new data
TAKE = "cp -a /from/. /to/"
EMPTY = "find /to -mindepth 1 -delete"


def move(project: Project, data: Data, *, image: str, database: str, sources: Sources) -> str:
    """Do it; ``image`` reads the old data. Returns the volume with the old data. Raises ``BackupNoRoom``, ``UpgradeFailed``."""
    found = copied.look(data.source, image)
    if found.free_kib < COPIES * found.kib:
        raise BackupNoRoom(
            f"the engine's disk has {found.free_kib // 1024} MiB free, and the upgrade needs "
            f"{COPIES * found.kib // 1024} for the old data and the new; free some room there (`docker image prune`)"
        )
    project.runner.down(volumes=False)
    work = STATE / project.name / "upgrading"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700, parents=True)
    aside = f"{project.name}_before_{datetime.now(UTC):%Y%m%dt%H%M%Sz}"
    where = Place(f"the volume {data.source}", image=image, mount=data.source)
    try:
        with source.opened(where, database=database, image=image) as opened:
            before = facts.of(opened.postgres)
            backups.check_room(work, before.bytes)
            settings = cast("Settings", dump.facts(opened.postgres)["settings"])
            with Progress("dumping"):
                content = dump.write(opened.postgres, work / "database.dump")
        with Progress("copying the old data aside"):
            process.capture(["docker", "volume", "create", aside])
            volumes(image, TAKE, data.source, aside)
        upgrading.begin(project.name, Unfinished(data.source, aside, image))
        try:
            volumes(image, EMPTY, aside, data.source)
            lifecycle.bring_up(project, sources)
            target = postgres.of(project)
            load.load(target, work / "database.dump", content, schema=before.schema, fresh=FRESH)
            target.query(dump.settings_sql(FRESH, load.kept(settings)), database="postgres")
            server = OneHost(project).server()
            switch.switch(project, target, server, fresh=FRESH, counts=before.counts)
        except (LettaStackError, KeyboardInterrupt) as error:
            undo(project)
            raise UpgradeFailed(
                f"{error}; the data are those from before again, and nothing runs: start it with the letta-stack from "
                "before, or look at what the message says and run `inv upgrade` again"
            ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    upgrading.end(project.name)
    return aside


def undo(project: Project) -> None:
    """Put the old data back, if an upgrade has begun. Safe to be interrupted: it is written down until it is done."""
    one = upgrading.unfinished(project.name)
    if one is None:
        return
    console.say(f"putting the data from before back: {one.aside}")
    project.runner.down(volumes=False)
    volumes(one.image, f"{EMPTY} && {TAKE}", one.aside, one.data)
    upgrading.end(project.name)
    process.capture(["docker", "volume", "rm", one.aside])


def volumes(image: str, script: str, from_: str, to: str) -> None:
    """Run a script as root that sees one volume at /from, read-only, and another at /to."""
    options = ["--rm", "--network=none", "--pull=never", "--user=0:0", "--entrypoint=sh"]
    options += [f"--volume={from_}:/from:ro", f"--volume={to}:/to"]
    process.capture(["docker", "run", *options, image, "-euc", script])
