"""PgBouncer between the server and PostgreSQL: no setting of the server says so, and nothing of a session is left behind."""

from __future__ import annotations

import contextlib
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from tests.smoke import harness, pooling, postgres
from tests.smoke.pooling import Case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.smoke.harness import Server

BEHIND = "behind"
PASSWORD = f"pooled-{secrets.token_hex(8)}"
URI = pooling.uri(PASSWORD)
LINE = "is behind a pooler in transaction mode"
# Few, so that each serves many sessions, and more than all replicas' LETTA_PG_POOL_SIZE.
CONNECTIONS = 8
SERVER_POOL = "3"
TURNS = 16
# What a process of PostgreSQL keeps for sessions. While one sleeps, the next gets another process.
KEPT = "BEGIN; SELECT pg_backend_pid(), count(*) FROM pg_prepared_statements; SELECT pg_sleep(1); COMMIT"


# The oldest that Debian has, and without what the newest does for clients: the hardest case runs always.
CASES = [
    Case("bookworm", "transaction", CONNECTIONS),
    pytest.param(Case("bookworm", "session", 80), marks=pytest.mark.long),
    pytest.param(Case("trixie", "transaction", CONNECTIONS, 200), marks=pytest.mark.long),
]


@dataclass(frozen=True)
class Pooled:
    """A database, and the pooler in front of it."""

    case: Case
    network: str
    database: str

    def query(self, sql: str) -> str:
        """Ask through the pooler."""
        command = ["docker", "exec", self.database, "psql", URI, "-At", "-c", sql]
        return process.capture(command)


@pytest.fixture(params=CASES, ids=lambda case: f"{case.suite}-{case.mode}")
def pooled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pooled]:
    case: Case = request.param
    with (
        harness.network(f"{harness.RUN}-pooler") as network,
        postgres.running(network, BEHIND, PASSWORD) as database,
        pooling.running(case, network, tmp_path, BEHIND, PASSWORD),
    ):
        yield Pooled(case, network, database)


@contextlib.contextmanager
def servers(pooled: Pooled, image: str, count: int) -> Iterator[list[Server]]:
    """Start servers at the same moment; wait until all are healthy."""
    environment = {
        **harness.PROVIDER,
        "LETTA_PG_URI": URI,
        "LETTA_PG_POOL_SIZE": SERVER_POOL,
        "LETTA_ENCRYPTION_KEY": "k" * 32,
    }
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                harness.server(
                    f"pooled-{number}",
                    image=image,
                    environment=environment,
                    networks=[pooled.network],
                )
            )
            for number in range(count)
        ]
        for one in started:
            one.wait_until_healthy()
        yield started


def turn(server: Server, number: int) -> str:
    """Make an agent, let it answer twice, and return what it remembers of it."""
    with server.client() as client:
        agent = client.agents.create(model=harness.MODEL, embedding=harness.EMBEDDING)
        for word in ("first", "second"):
            client.agents.messages.create(agent.id, input=f"{word} {number}")
        return " ".join(str(one) for one in client.agents.messages.list(agent.id).items)


@pytest.mark.timeout(600, func_only=True)
def test_a_server_needs_no_setting_for_its_pooler(pooled: Pooled, image: str) -> None:
    by_transaction = pooled.case.mode == "transaction"
    with harness.script(
        "pooler-stub", "llm_stub.py", networks=[pooled.network], network_aliases=[harness.STUB_HOST]
    ):
        with ThreadPoolExecutor(3) as pool:
            ended = list(
                pool.map(
                    lambda number: postgres.migrate(image, pooled.network, URI, number), range(3)
                )
            )
        outputs = [one.stdout + one.stderr for one in ended]
        assert [one.exit_code for one in ended] == [0] * 3, "\n".join(outputs)
        # The lock holds: one migrates, the others wait for it.
        assert len([one for one in outputs if "migrated the database in" in one]) == 1, outputs

        with servers(pooled, image, 2) as started:
            with ThreadPoolExecutor(TURNS) as pool:
                said = list(
                    pool.map(lambda number: turn(started[number % 2], number), range(TURNS))
                )
            logs = [one.logs() for one in started]

        for number, text in enumerate(said):
            assert {f"STUB:first {number}", f"STUB:second {number}"} <= set(
                re.findall(r"STUB:\w+ \d+", text)
            )
        assert [log.count(LINE) for log in logs] == [int(by_transaction)] * 2
        assert not any(PASSWORD in log for log in logs)
        # Nobody waited for a lock that a session before had left behind.
        assert not any("not waiting for it any longer" in log for log in logs)
    left = postgres.query(
        pooled.database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    )
    assert left == ["0"]
    if by_transaction:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            kept = list(pool.map(lambda _: pooled.query(KEPT), range(CONNECTIONS)))
        rows = [row.split("|") for text in kept for row in text.splitlines() if "|" in row]
        assert {count for _, count in rows} == {"0"}, rows
