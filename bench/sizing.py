"""What so many replicas need, computed from bench/results: the tables of docs/scaling.md.

python -m bench.sizing            print them
python -m bench.sizing --write    put them into the page
"""

from __future__ import annotations

import argparse
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_stack.base.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "scaling.md"
COUNTS = (1, 10, 100, 1000)
# The load that a replica is given.
CALLS_A_TURN = 4
BUSY = 0.6  # of the one processor that a server's Python can use
DAY = 0.25  # the share of a day at that load; the rest is quiet
# What there is of what cannot be had twice.
USABLE = 0.8  # of a processor, before requests wait for each other
DIRECT = (
    31  # connections of a replica to PostgreSQL: its pool, the overflow, and the look at the disk
)
POSTGRESQL = 290  # connections for replicas, of the 300 in `prod`
POOLED = 250  # PgBouncer's connections to that PostgreSQL
FEW = 2  # LETTA_PG_POOL_SIZE behind it
GATEWAY_PROCESSORS, COLLECTOR_PROCESSORS = 2, 1  # limits in `prod`
GATEWAY_REPLICAS = 2500
DATABASE_PROCESSORS = (2, 16, 64)
SERVICES = {
    "letta-server": "servers",
    "letta-db": "PostgreSQL",
    "letta-nginx": "gateway",
    "letta-redis": "Redis",
    "letta-collector": "collector",
}
SEEN = {
    "known after, s": "{seconds_until_known}",
    "a look-up, ms": "{look_up_ms}",
    "a reload, ms of processor": "{reload_cpu_ms}",
    "upstream, bytes": "{upstream_bytes}",
    "connections at PgBouncer / PostgreSQL": "{connections[clients]} / {connections_that_postgresql_has}",
    "answered": "{replicas_that_answered}",
    "failed": "{failed} of {requests}",
    "failed while they came": "{failed_while_they_came} of {requests_while_they_came}",
}
_TABLE = re.compile(r"<!-- (?P<name>need|ends|seen) -->\n.*?<!-- end -->", re.DOTALL)


@dataclass(frozen=True)
class Replica:
    """What one replica does under the load above, and what that takes; times and rates are per second."""

    turns: float
    processors: Mapping[str, float]  # by service
    memory: float  # GB
    transactions: float
    busy: float  # connections, in a transaction at any moment
    pooler: float  # processors
    database: float  # GB a day
    telemetry: float
    logs: float


def replica(load: Mapping[str, Any], scale: Mapping[str, Any]) -> Replica:
    """Compute it from what `bench.load` and `bench.scale` have written."""
    one, growth = load["servers"]["1"], load["growth"]

    def milliseconds(service: str) -> float:
        turn, call = (
            one[kind]["cpu_ms_a_request"].get(service, 0.0) for kind in ("Talker", "Busy")
        )
        return float(turn + CALLS_A_TURN * call)

    turns = BUSY * 1000 / milliseconds("letta-server")

    def at_pooler(what: str) -> float:
        turn, call = (scale["server"][kind][what] for kind in ("turn", "call"))
        return turns * float(turn + CALLS_A_TURN * call)

    kept = {
        name: count * turns * 86400 * DAY / 1e9 for name, count in growth["bytes_a_message"].items()
    }
    return Replica(
        turns=turns,
        processors={name: turns * milliseconds(name) / 1000 for name in SERVICES},
        memory=max(size for _, size in growth["memory_samples"]) / 1e9,
        transactions=at_pooler("transactions"),
        busy=at_pooler("ms_in_transactions") / 1000,
        pooler=at_pooler("pooler_cpu_ms") / 1000,
        database=kept["database"],
        telemetry=kept["telemetry"],
        logs=kept["container's log"],
    )


def needs(one: Replica) -> str:
    """Return the table of what so many replicas need."""
    rows: dict[str, float] = {
        "turns a second": one.turns,
        "calls without a model a second": one.turns * CALLS_A_TURN,
        **{f"processors: {SERVICES[name]}": used for name, used in one.processors.items()},
        "processors: PgBouncer": one.pooler,
        "memory of the servers, GB": one.memory,
        "memory that `prod` reserves for them, GiB": 1,
        "connections to PostgreSQL without a pooler": DIRECT,
        "connections at PgBouncer, pool of 2 and overflow of 1": FEW + 1,
        "connections in a transaction at a moment": one.busy,
        "transactions a second": one.transactions,
        "database, GB a day": one.database,
        "telemetry, GB a day": one.telemetry,
        "containers' logs, GB a day": one.logs,
    }
    return table(
        ["replicas", *(f"{count:,}".replace(",", " ") for count in COUNTS)],
        [[name, *(short(value * count) for count in COUNTS)] for name, value in rows.items()],
    )


def limits(one: Replica) -> list[tuple[int, str, str]]:
    """Return the number of replicas at which something ends, what, and what to do; the first one first."""
    used = one.processors
    found = [
        (
            POSTGRESQL / DIRECT,
            "300 connections of PostgreSQL",
            "PgBouncer ([database.md](database.md#poolers))",
        ),
        (
            POOLED / FEW,
            f"PgBouncer's {POOLED} connections, {FEW} a replica",
            "more of them (10 MB each)",
        ),
        (
            USABLE / one.pooler,
            "PgBouncer, which uses one processor",
            "more of them on one port (`so_reuseport`), or one beside each group of replicas",
        ),
        (
            USABLE * GATEWAY_PROCESSORS / used["letta-nginx"],
            f"{GATEWAY_PROCESSORS} processors of the gateway",
            "more processors (it takes four), then a load balancer in front of several stacks",
        ),
        (
            USABLE * COLLECTOR_PROCESSORS / used["letta-collector"],
            f"{COLLECTOR_PROCESSORS} processor of the collector",
            "a collector a host or node, sampling ([telemetry.md](telemetry.md))",
        ),
        (
            USABLE / used["letta-redis"],
            "Redis, which uses one processor",
            "one Redis for each group of replicas that share streams",
        ),
        (
            GATEWAY_REPLICAS,
            "the gateway's memory for replicas",
            "a larger `zone` in `nginx.conf.template`",
        ),
        *(
            (
                USABLE * count / used["letta-db"],
                f"{count} processors of PostgreSQL",
                "more processors; there is one primary, and the server does not read from a standby"
                if count < DATABASE_PROCESSORS[-1]
                else "several stacks, each with the agents of some organizations",
            )
            for count in DATABASE_PROCESSORS
        ),
    ]
    return sorted((math.floor(count), what, advice) for count, what, advice in found)


def ends(one: Replica) -> str:
    """Return the table of what ends first."""
    return table(
        ["at replicas", "what ends", "what to do"], [[str(row[0]), *row[1:]] for row in limits(one)]
    )


def seen(scale: Mapping[str, Any]) -> str:
    """Return the table of the run with stand-ins."""
    rows = [
        [count, *(form.format_map(row) for form in SEEN.values())]
        for count, row in scale["levels"].items()
    ]
    return table(["replicas", *SEEN], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def short(value: float) -> str:
    """Write a number with two digits that count."""
    if not value:
        return "0"
    rounded = float(f"{value:.1e}")
    return f"{rounded:.{max(1 - math.floor(math.log10(abs(rounded))), 0)}f}"


def tables() -> dict[str, str]:
    """Return the page's tables by name."""
    load, scale = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("load", "scale")
    )
    one = replica(load, scale)
    return {"need": needs(one), "ends": ends(one), "seen": seen(scale)}


def page(text: str) -> str:
    """Return the page with its tables as they are computed now."""
    fresh = tables()
    return _TABLE.sub(
        lambda match: f"<!-- {match['name']} -->\n{fresh[match['name']]}<!-- end -->", text
    )


def main() -> None:
    """Print the tables or put them into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n".join(tables().values()))


if __name__ == "__main__":
    main()
