"""A backup and its restore beside PostgreSQL's own tools, on the same data in the same run.

    python -m bench.backup [--megabytes N] [--rounds N] [--raw FILE]

`backup.create` beside bare `pg_dump -Fc`, in turns; `backup.restore` up to the moment when both databases would change places beside bare
`pg_restore`. What ours do besides: rows and hashes of every table in the same snapshot, checksums, secrets, and the comparison of what
was restored. The mark of both is 0.8. At the end a whole `backup.restore`, with the backup of what is there and the servers' stop
and start, for which PostgreSQL has nothing to compare.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.operate import backup, postgres, restore
from tests.smoke import harness
from tests.smoke.conftest import deployed
from tests.support import processor

if TYPE_CHECKING:
    from collections.abc import Callable

    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.store import Backup
    from tests.smoke.conftest import Deployment

MIB = 1024**2
MARK = 0.8
ROWS = (ROOT / "bench/rows.sql").read_text(encoding="utf-8")
BATCH = {"messages": 6000, "passages": 600}  # half of the bytes each
FRESH = "bench_restored"


@dataclass(frozen=True)
class Taken:
    """Seconds on the clock and of the processors, PostgreSQL's and the command's."""

    what: str
    seconds: float
    processor_seconds: float


def fill(stack: Deployment, database: Postgres, megabytes: int) -> int:
    """Write rows until the database has that size; return its size in bytes."""
    with stack.client() as client:
        agent = client.agents.create(model=harness.MODEL, embedding=harness.EMBEDDING)
        client.agents.passages.create(agent.id, text="the first one makes the archive")
    size = "SELECT pg_database_size(current_database())"
    command = database.psql(
        f"--set=agent={agent.id}", *(f"--set={name}={count}" for name, count in BATCH.items())
    )
    while int(database.value(size)) < megabytes * MIB:
        process.capture(command, stdin=ROWS)
    database.query("VACUUM ANALYZE")
    return int(database.value(size))


def measure(what: str, container: str, work: Callable[[], object]) -> Taken:
    """Do something once."""

    def used() -> float:
        mine = [resource.getrusage(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return processor.seconds(container) + sum(one.ru_utime + one.ru_stime for one in mine)

    clock, before = time.monotonic(), used()
    work()
    return Taken(what, time.monotonic() - clock, used() - before)


def bare_dump(database: Postgres, target: Path) -> None:
    """Dump as the manual says."""
    with target.open("wb") as file:
        command = database.argv("pg_dump", "--format=custom", f"--dbname={database.name}")
        process.stream(command, stdout=file)


def bare_restore(database: Postgres, dump: Path) -> None:
    """Restore as the manual says, into an empty database."""
    database.query(f"CREATE DATABASE {FRESH} TEMPLATE template0", database="postgres")
    with dump.open("rb") as file:
        command = database.argv("pg_restore", f"--dbname={FRESH}", interactive=True)
        process.stream(command, stdin=file)


def our_restore(database: Postgres, made: Backup) -> None:
    """Restore beside the present database, and compare."""
    if made.manifest is None:
        raise AssertionError(made.problem)
    restore.load(database, made, made.manifest, FRESH)


def one_round(
    stack: Deployment, database: Postgres, directory: Path, *, ours_first: bool
) -> list[Taken]:
    """Measure each of the four once; nothing is left."""
    dump = directory / "bare.dump"
    made: list[Backup] = []

    def create() -> None:
        made.append(backup.create(stack.stack, directory=directory, to=[], omit=True))

    pairs: list[list[tuple[str, Callable[[], object]]]] = [
        [("dump bare", lambda: bare_dump(database, dump)), ("dump ours", create)],
        [
            ("restore bare", lambda: bare_restore(database, dump)),
            ("restore ours", lambda: our_restore(database, made[0])),
        ],
    ]
    taken = []
    for pair in pairs:
        for what, work in reversed(pair) if ours_first else pair:
            taken.append(measure(what, database.container, work))
            restore.drop(database, FRESH)
            # What the one wrote must not be flushed in the time of the other.
            database.query("CHECKPOINT")
    dump.unlink()
    shutil.rmtree(made[0].directory)
    return taken


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--raw", type=Path)
    arguments = parser.parse_args()
    with (
        deployed("prod", "bench-backup", harness.PROVIDER) as stack,
        tempfile.TemporaryDirectory() as temporary,
    ):
        database, directory = postgres.of(stack.stack), Path(temporary)
        size = fill(stack, database, arguments.megabytes)
        rounds = [
            one_round(stack, database, directory, ours_first=bool(number % 2))
            for number in range(arguments.rounds)
        ]
        made = backup.create(stack.stack, directory=directory, to=[], omit=True)
        whole = measure(
            "restore whole",
            database.container,
            lambda: restore.restore(stack.stack, made, identity=None, directory=directory, to=[]),
        )
    print(f"database: {size / MIB:.0f} MiB")
    for name in ("dump", "restore"):
        by_name = [{one.what: one for one in taken} for taken in rounds]
        pairs = [(one[f"{name} bare"], one[f"{name} ours"]) for one in by_name]
        clock = [bare.seconds / ours.seconds for bare, ours in pairs]
        work = [bare.processor_seconds / ours.processor_seconds for bare, ours in pairs]
        print(
            f"{name:8} bare {statistics.median(bare.seconds for bare, _ in pairs):6.1f} s, "
            f"ours {statistics.median(ours.seconds for _, ours in pairs):6.1f} s, "
            f"ratio {statistics.median(clock):.2f} ({min(clock):.2f} to {max(clock):.2f}), mark {MARK}; "
            f"by processor time {statistics.median(work):.2f}"
        )
    print(f"whole restore, with the backup of what was there: {whole.seconds:.1f} s")
    if arguments.raw:
        taken = [*(one for round_ in rounds for one in round_), whole]
        raw = {"bytes": size, "taken": [asdict(one) for one in taken]}
        arguments.raw.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
