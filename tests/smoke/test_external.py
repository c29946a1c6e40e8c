"""The image with somebody else's PostgreSQL: no second one inside, and one migration however many replicas start."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from python_on_whales import docker

from letta_stack.base import process
from tests.smoke import harness, postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

REPLICAS = 10
DATABASE_HOST = "db"
# Upstream's server and its migrations stop at any percent sign in the URI, so at all of these characters.
PASSWORD = f"a%b@c:d/e {harness.RUN}"
URI = f"postgresql://letta:{quote(PASSWORD, safe='')}@{DATABASE_HOST}:5432/letta"


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    with harness.network(f"{harness.RUN}-external") as name:
        yield name


@pytest.fixture(scope="module")
def database(network: str) -> Iterator[str]:
    """Start an empty PostgreSQL with pgvector."""
    with postgres.running(network, DATABASE_HOST, PASSWORD) as container:
        yield container


def schema(database: str, name: str) -> str:
    """Return the tables of a database as SQL, without a dump's random words."""
    command = [
        "pg_dump",
        "-U",
        "letta",
        "-d",
        name,
        "--schema-only",
        "--no-owner",
        "--schema=public",
    ]
    lines = str(docker.container.execute(database, command)).splitlines()
    return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))


def test_ten_replicas_migrate_a_fresh_database_once(
    image: str, network: str, database: str
) -> None:
    assert postgres.query(database, "SELECT to_regclass('alembic_version') IS NULL") == ["t"]

    with ThreadPoolExecutor(REPLICAS) as pool:
        ended = list(
            pool.map(lambda number: postgres.migrate(image, network, URI, number), range(REPLICAS))
        )

    assert [one.exit_code for one in ended] == [0] * REPLICAS, "\n".join(
        one.stderr for one in ended
    )
    outputs = [one.stdout + one.stderr for one in ended]
    assert len([output for output in outputs if "migrated the database in" in output]) == 1
    assert not any(PASSWORD in output or quote(PASSWORD, safe="") in output for output in outputs)
    assert len(postgres.query(database, "SELECT version_num FROM alembic_version")) == 1


def test_the_schema_is_the_one_that_the_servers_own_way_makes(
    image: str, network: str, database: str
) -> None:
    # A user without that password: see above.
    postgres.query(database, "CREATE ROLE upstream SUPERUSER LOGIN PASSWORD 'plain'")
    postgres.query(database, "CREATE DATABASE upstream OWNER upstream")
    postgres.query(database, "CREATE EXTENSION vector", name="upstream")
    uri = f"postgresql://upstream:plain@{DATABASE_HOST}:5432/upstream"
    options = ["--rm", "--network", network, "--user", "letta", "--workdir", "/opt/letta"]
    options += [
        "--tmpfs",
        "/run/home:mode=1777",
        "--env",
        "HOME=/run/home",
        "--env",
        f"LETTA_PG_URI={uri}",
    ]
    own_way = ["--entrypoint", "/opt/letta/venv/bin/alembic", image, "upgrade", "head"]

    process.capture(["docker", "run", *options, *own_way])

    ours, theirs = (schema(database, name) for name in ("letta", "upstream"))
    assert "CREATE TABLE public.agents" in ours
    assert ours == theirs


def test_with_an_external_postgres_the_embedded_one_does_not_start(
    image: str, network: str, database: str
) -> None:
    environment = {"LETTA_PG_URI": URI}
    with harness.server(
        "external", image=image, environment=environment, networks=[network]
    ) as server:
        server.wait_until_healthy()

        assert "postgres" not in {one.name for one in server.processes()}
        with server.client() as client:
            client.blocks.create(label="note", value=f"kept outside by {harness.RUN}")
        assert postgres.query(
            database, f"SELECT label FROM block WHERE value LIKE '%{harness.RUN}'"
        ) == ["note"]
        password = {"as given": PASSWORD, "in the URI": quote(PASSWORD, safe="")}
        assert harness.mentions(server.logs(), password) == []
