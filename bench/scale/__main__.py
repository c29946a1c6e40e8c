"""Many replicas through the real gateway and a real PgBouncer, each a light stand-in with the server's pool of connections.

    python -m bench.scale [--counts 10,50,100] [--requests N] [--raw FILE]      no counts: only the real server

First one real server through the same PgBouncer, for what a turn and a call cost there. Then so many stand-ins, found by the
gateway's start script in the DNS as the servers are: how long until it knows them, what a reload costs, whether a request is lost
while replicas come, how many connections arrive at PostgreSQL. Costs are processor time, read outside of the containers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.scale import gateway as gateway_side
from bench.scale import stage as stages
from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.topology.catalogue import GATEWAY
from tests.gateway import driver
from tests.smoke import postgres
from tests.support import images, processor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.scale.stage import Stage

STARTING = 6  # containers at a time
START_SECONDS = 900.0


def level(stage: Stage, gateway: driver.Gateway, count: int, requests: int) -> dict[str, Any]:
    """Measure with so many replicas, all of which are up."""
    up = time.monotonic()
    wait_until(
        lambda: gateway_side.known(gateway) == count,
        timeout=120,
        interval=0.2,
        describe=lambda: f"the gateway knows {gateway_side.known(gateway)} replicas of {count}",
    )
    found: dict[str, Any] = {"seconds_until_known": round(time.monotonic() - up, 1)}
    containers = {"nginx": gateway.container, "pooler": stage.pooler, "database": stage.database}

    def used() -> dict[str, float]:
        return {name: processor.seconds(one) for name, one in containers.items()}

    before, totals = used(), stage.totals()
    seen = gateway_side.answers(gateway.url, requests)
    after = used()
    done = max(seen.total() - seen["failed"], 1)
    found |= {
        "requests": seen.total(),
        "failed": seen.pop("failed", 0),
        "replicas_that_answered": len(seen),
        "least_and_most": [min(seen.values(), default=0), max(seen.values(), default=0)],
        "cpu_ms_a_request": {
            name: round((after[name] - before[name]) * 1000 / done, 3) for name in containers
        },
        "transactions": stage.totals()["xact_count"] - totals["xact_count"],
        "connections": stage.connections(),
        "connections_that_postgresql_has": int(
            postgres.query(
                stage.database,
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
            )[0]
        ),
        "upstream_bytes": int(gateway_side.inside(gateway, "wc -c < /tmp/gateway/upstream.conf")),
        "reload_cpu_ms": gateway_side.reload_cost(gateway),
        "look_up_ms": gateway_side.look_up(gateway),
    }
    return found


def levels(stage: Stage, counts: Sequence[int], requests: int) -> dict[str, Any]:
    """Add replicas up to each count, under requests of which none may fail; measure at each."""
    postgres.query(
        stage.database, "CREATE TABLE replicas (name text PRIMARY KEY, answered bigint NOT NULL)"
    )
    image = images.prepare(["prod"])[GATEWAY.image]
    settings = {"LETTA_STACK_READY_PORT": "8284", "LETTA_STACK_WATCH_SECONDS": "2"}
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as replicas, ThreadPoolExecutor(STARTING) as pool:
        up = 0

        def start(number: int) -> None:
            container = replicas.enter_context(gateway_side.standin(stage.network, number))
            wait_until(
                lambda: "serving" in process.probe(["docker", "logs", container]).stdout,
                timeout=START_SECONDS,
                interval=0.5,
                describe=f"stand-in {number} does not serve",
            )

        start(up)
        up = 1
        with driver.gateway("scale-gateway", image, stage.network, settings) as gateway:
            for count in counts:
                more = [pool.submit(start, number) for number in range(up, count)]
                up, failed, asked = count, 0, 0
                while any(not one.done() for one in more):
                    seen = gateway_side.answers(gateway.url, gateway_side.CLIENTS * 10)
                    asked, failed = asked + seen.total(), failed + seen["failed"]
                for one in more:
                    one.result()
                row = level(stage, gateway, count, requests)
                row |= {"requests_while_they_came": asked, "failed_while_they_came": failed}
                found[str(count)] = row
                show(count, row)
    return found


def show(count: int, row: dict[str, Any]) -> None:
    """Print one number of replicas."""
    print(
        f"{count:4} replicas: known after {row['seconds_until_known']} s; look-up {row['look_up_ms']} ms, reload "
        f"{row['reload_cpu_ms']} ms of processor, {row['upstream_bytes']} bytes; {row['failed']} failed of {row['requests']}, "
        f"{row['failed_while_they_came']} of {row['requests_while_they_came']} while they came; {row['replicas_that_answered']} answered; "
        f"{row['connections']['clients']} connections at the pooler, {row['connections_that_postgresql_has']} at PostgreSQL; "
        f"ms of processor a request: {row['cpu_ms_a_request']}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", default="10,50,100")
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--raw", type=Path)
    options = parser.parse_args()
    counts = [int(one) for one in options.counts.split(",") if one]
    with stages.stage() as one:
        raw: dict[str, Any] = {"pool": gateway_side.POOL, "server": stages.one_server(one)}
        print(f"one server: {raw['server']}", flush=True)
        raw["levels"] = levels(one, counts, options.requests)
    if options.raw:
        options.raw.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    lost = sum(row["failed"] + row["failed_while_they_came"] for row in raw["levels"].values())
    if lost:
        raise SystemExit(f"{lost} requests failed")


if __name__ == "__main__":
    main()
