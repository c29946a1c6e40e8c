"""PostgreSQL, the pooler in front of it, and what a real server costs there."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from tests.smoke import harness, pooling, postgres
from tests.support import processor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_client import Letta

PASSWORD = secrets.token_hex(16)
BEHIND = "behind"
MAX_CONNECTIONS = 300  # of PostgreSQL in `prod`
CASE = pooling.Case("bookworm", "transaction", 250)
TURNS, CALLS, WARM_UP = 50, 200, 10
STATISTICS = ("xact_count", "query_count", "xact_time")


@dataclass(frozen=True)
class Stage:
    """A network with a PostgreSQL and the pooler in front of it."""

    network: str
    database: str
    pooler: str

    def totals(self) -> dict[str, float]:
        """Return the pooler's counts and its processor seconds; times are its microseconds."""
        found = self._ask("SHOW STATS_TOTALS")
        (row,) = [one for one in found if one["database"] == "letta"]
        counts = {name: float(row[name]) for name in STATISTICS}
        return {**counts, "cpu": processor.seconds(self.pooler)}

    def connections(self) -> dict[str, int]:
        """Return how many clients the pooler has, and how many connections to PostgreSQL."""
        rows = [one for one in self._ask("SHOW POOLS") if one["database"] == "letta"]
        return {
            "clients": sum(int(one["cl_active"]) + int(one["cl_waiting"]) for one in rows),
            "to_postgresql": sum(
                int(one[state]) for one in rows for state in ("sv_active", "sv_idle", "sv_used")
            ),
        }

    def _ask(self, question: str) -> list[dict[str, str]]:
        address = pooling.uri(PASSWORD, "pgbouncer")
        command = ["docker", "exec", self.database, "psql", address, "-A", "-F|", "-c", question]
        head, *lines = process.capture(command).splitlines()
        return [dict(zip(head.split("|"), line.split("|"), strict=True)) for line in lines[:-1]]


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Start both."""
    command = ["postgres", "-c", f"max_connections={MAX_CONNECTIONS}"]
    with (
        tempfile.TemporaryDirectory() as directory,
        harness.network(f"{harness.RUN}-scale") as network,
        postgres.running(network, BEHIND, PASSWORD, command=command) as database,
        pooling.running(CASE, network, Path(directory), BEHIND, PASSWORD) as pooler,
    ):
        yield Stage(network, database, pooler)


def one_server(stage: Stage) -> dict[str, Any]:
    """Return what a turn and a call of a real server cost at the pooler."""
    environment = {**harness.PROVIDER, "LETTA_PG_URI": pooling.uri(PASSWORD)}
    with (
        harness.script(
            "stub", "llm_stub.py", networks=[stage.network], network_aliases=[harness.STUB_HOST]
        ),
        harness.server("one", environment=environment, networks=[stage.network]) as server,
    ):
        server.wait_until_healthy()
        with server.client() as client:
            agent = client.agents.create(model=harness.MODEL, embedding=harness.EMBEDDING).id

            def turn() -> None:
                client.agents.messages.create(agent, input="one two three four")

            return {
                "turn": cost(stage, turn, TURNS),
                "call": cost(stage, lambda: calls(client, agent), CALLS // 4, of=4),
            }


def calls(client: Letta, agent: str) -> None:
    """Make the four calls without a model of `bench.load`."""
    list(client.agents.list(limit=10).items)
    client.agents.retrieve(agent)
    list(client.agents.messages.list(agent, limit=20).items)
    list(client.blocks.list(limit=10).items)


def cost(stage: Stage, act: Any, count: int, *, of: int = 1) -> dict[str, float]:
    """Do it again and again; return what one of each ``of`` costs."""
    for _ in range(WARM_UP):
        act()
    before, began = stage.totals(), time.monotonic()
    for _ in range(count):
        act()
    seconds = time.monotonic() - began
    spent = {name: (total - before[name]) / count / of for name, total in stage.totals().items()}
    return {
        "transactions": round(spent["xact_count"], 2),
        "statements": round(spent["query_count"], 2),
        "ms": round(seconds * 1000 / count / of, 2),
        "ms_in_transactions": round(spent["xact_time"] / 1000, 2),
        "pooler_cpu_ms": round(spent["cpu"] * 1000, 3),
    }
