"""A PostgreSQL on a copy of a data directory: the original is mounted read-only, and nothing is ever started on it."""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.errors import (
    BackupNoRoom,
    SourceForeign,
    SourceInUse,
    SourceUnknown,
    WrongOwner,
)
from letta_stack.operate import scratch
from letta_stack.operate.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

READER = "letta-stack-adopt"
MIB = 1024**2
RESERVE = 512 * MIB  # what recovery and sorting may need beside the copy
RECOVERY_SECONDS = 3600.0
PROCESSES = Path("/proc")
# Ends with 3 where there is no data directory, and with 4 where its files cannot be read.
LOOK = """
PATH="$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1):$PATH"
for home in /source /source/postgres /source/pgdata none; do [ -e "$home/PG_VERSION" ] && break; done
[ "$home" != none ] || { ls /source >/dev/null 2>&1 || exit 4; exit 3; }
cat "$home/PG_VERSION" "$home/global/pg_control" >/dev/null 2>&1 || exit 4
echo "$home"
cat "$home/PG_VERSION"
postgres --version | sed 's/[^0-9]*\\([0-9]*\\).*/\\1/'
du -sk "$home" | cut -f 1
df -Pk / | awk 'NR == 2 { print $4 }'
find "$home/pg_tblspc" "$home/pg_wal" -type l | wc -l
head -n 1 "$home/postmaster.pid" 2>/dev/null || echo 0
"""
# A copy that changed while it was made is none.
COPY = """
set -eu
state() { find "$1/global/pg_control" "$1/pg_wal" -type f -exec stat -c '%n %s %Y' {} + | sort | cksum; }
before=$(state "$1")
mkdir -m 700 /copy/data
cp -a "$1/." /copy/data/
[ "$before" = "$(state "$1")" ] || exit 5
cd /copy/data
rm -f postmaster.pid postmaster.opts standby.signal recovery.signal
: >>postgresql.conf
chown -R postgres: /copy
chmod 700 /copy/data
"""
# What the original's configuration says of its old surroundings is overruled. Whoever its superuser is: in single-user mode
# PostgreSQL asks nobody, and there the one comes in that reads the copy.
START = f"""
set -eu
PATH="$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1):$PATH"
echo 'local all all trust' >/tmp/hba
set -- -D /copy/data -c listen_addresses= -c unix_socket_directories=/tmp -c hba_file=/tmp/hba -c ssl=off \
    -c shared_preload_libraries= -c archive_mode=off -c logging_collector=off -c external_pid_file= \
    -c fsync=off -c synchronous_commit=off -c jit=off
echo 'CREATE ROLE "{READER}" SUPERUSER LOGIN' | postgres --single "$@" template1 >/tmp/log 2>&1 || {{ cat /tmp/log >&2; exit 1; }}
exec postgres "$@"
"""


@dataclass(frozen=True)
class Looks:
    """What was found in a directory, without starting anything."""

    home: str  # where the container of the look had the data directory
    major: int
    program: int  # the major version of the image that looked
    kib: int
    free_kib: int
    links: int  # to what is not in the directory
    pid: int  # in postmaster.pid, 0 if there is none

    @classmethod
    def parse(cls, text: str) -> Looks:
        """Read the answer of ``LOOK``."""
        home, major, program, *numbers = text.split()
        kib, free_kib, links, pid = map(int, numbers)
        return cls(home, int(major.partition(".")[0]), int(program), kib, free_kib, links, pid)


def look(mount: str, image: str) -> Looks:
    """Look into a volume or directory. Raises ``SourceForeign``, ``WrongOwner``, ``SourceUnknown``."""
    command = [*container(mount, "--rm", "--user=0:0"), image, "-c", LOOK]
    answer = process.probe(command)
    if answer.exit_code == 3:  # noqa: PLR2004 - see ``LOOK``
        raise SourceForeign(
            f"{mount} has no data directory of PostgreSQL (no PG_VERSION); upstream mounts it at "
            "/var/lib/postgresql/data"
        )
    if answer.exit_code == 4:  # noqa: PLR2004 - see ``LOOK``
        raise WrongOwner(
            f"the engine cannot read {mount}, not even as root; copy it as its owner (`sudo cp -a`) to where the "
            "engine may read, and give the copy"
        )
    if not answer.ok:
        raise SourceUnknown(f"cannot look into {mount}: {answer.stderr.strip()}")
    return Looks.parse(answer.stdout)


def container(mount: str, *options: str) -> list[str]:
    """Write the start of a command that has the original, read-only."""
    return [
        *("docker", "run", "--network=none", "--pull=never", "--entrypoint=sh", "--no-healthcheck"),
        *(f"--volume={mount}:/source:ro", *options),
    ]


def refuse(mount: str, found: Looks) -> None:
    """Raise for what cannot be copied: in use, spread over several places, too large."""
    if user := user_of(mount, found):
        raise SourceInUse(
            f"{mount} is in use by {user}; give that container to copy while it works (--from NAME), or stop it first"
        )
    if found.links:
        raise SourceForeign(
            f"{mount} has tablespaces or a WAL directory outside of it; start its PostgreSQL where it is, and give "
            "that: --from postgresql://USER@HOST:PORT/DATABASE"
        )
    needed = found.kib * 1024 + RESERVE
    if found.free_kib * 1024 < needed:
        raise BackupNoRoom(
            f"the engine's disk has {found.free_kib // 1024} MiB free, and a copy of {mount} needs "
            f"{needed // MIB}; free some room there (`docker image prune`)"
        )


def user_of(mount: str, found: Looks) -> str:
    """Say who works on a data directory, "" if nobody.

    A postmaster.pid alone says nothing: upstream's image leaves one each time it stops.
    """
    names = process.capture(
        ["docker", "ps", "--format={{.Names}}", f"--filter=volume={mount}"]
    ).split()
    if names:
        return f"the container {names[0]}"
    running = process.capture(["docker", "ps", "--quiet"]).split()
    # One that ends meanwhile is no failure.
    answer = process.probe(["docker", "container", "inspect", *running]) if running else None
    for facts in json.loads(answer.stdout or "[]") if answer else []:
        sources = [one["Source"] for one in facts["Mounts"] if one["RW"]]
        if any(overlaps(mount, one) for one in sources):
            return f"the container {facts['Name'].removeprefix('/')}"
    if found.pid and mount.startswith("/"):
        with contextlib.suppress(OSError):
            if (PROCESSES / str(found.pid) / "cwd").readlink().is_relative_to(mount):
                return f"the process {found.pid} of this machine"
    return ""


def overlaps(mount: str, other: str) -> bool:
    """Say whether one of two directories is the other, or in it."""
    if not mount.startswith("/") or other == "/":
        return False
    one, two = Path(mount), Path(other)
    return one.is_relative_to(two) or two.is_relative_to(one)


@contextlib.contextmanager
def started(mount: str, home: str, image: str) -> Iterator[Postgres]:
    """Copy a data directory and run a PostgreSQL on the copy for the block. Raises ``SourceInUse``, ``SourceForeign``."""
    name = f"letta-stack-adopt-{secrets.token_hex(4)}"
    copy = f"--volume={name}:/copy"
    try:
        with Progress(f"copying {mount}"):
            done = process.probe(
                [*container(mount, "--rm", "--user=0:0", copy), image, "-c", COPY, "sh", home]
            )
        if done.exit_code == 5:  # noqa: PLR2004 - see ``COPY``
            raise SourceInUse(
                f"{mount} changed while it was copied: a PostgreSQL works on it that this machine does not see; stop it"
            )
        if not done.ok:
            raise SourceUnknown(f"cannot copy {mount}: {done.stderr.strip()}")
        options = [
            "--detach",
            "--network=none",
            "--pull=never",
            "--user=postgres",
            "--no-healthcheck",
        ]
        options += [f"--name={name}", copy, "--env=PGHOST=/tmp", "--entrypoint=sh"]
        process.capture(["docker", "run", *options, image, "-c", START])
        reader = Postgres(name, READER, "postgres", READER)
        wait(reader, mount)
        yield reader
    finally:
        process.probe(["docker", "rm", "--force", "--volumes", name])
        process.probe(["docker", "volume", "rm", "--force", name])


def wait(reader: Postgres, mount: str) -> None:
    """Wait until the copy answers, however long its recovery takes. Raises ``SourceForeign`` if it never will."""

    def answers() -> bool:
        state = process.probe(
            ["docker", "container", "inspect", "--format={{.State.Running}}", reader.container]
        )
        if state.stdout.strip() != "true":
            raise SourceForeign(
                f"PostgreSQL does not start on a copy of {mount}: {scratch.log(reader.container)}"
            )
        return process.probe(reader.argv("pg_isready", "--quiet")).ok

    with Progress(f"starting a PostgreSQL on the copy of {mount}"):
        wait_until(
            answers, timeout=RECOVERY_SECONDS, interval=0.25, describe="the copy does not answer"
        )
