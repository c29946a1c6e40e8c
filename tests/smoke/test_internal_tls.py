"""TLS between server, PostgreSQL and Redis, turned on for a project that has data: what works, and what is refused."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from entrypoint.errors import DatabaseRefused
from python_on_whales import docker

from letta_stack.base import process
from letta_stack.certs import make, store
from letta_stack.operate import postgres
from letta_stack.secrets import kinds
from letta_stack.secrets.store import Store
from tests.smoke import harness
from tests.smoke.conftest import inv
from tests.smoke.test_agents import WORDS

if TYPE_CHECKING:
    from pathlib import Path

    from letta_client import Letta
    from letta_client.types import AgentState

    from tests.smoke.conftest import Deployment

# After everything else: it leaves the project with TLS.
pytestmark = [pytest.mark.last(order=3), pytest.mark.only("prod")]

AUTHORITY = "/authority.pem"  # in the containers of the tests


class Inside:
    """Programs in the network of the data services."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.network = f"{deployment.stack.name}_data"
        self.uri = Store.of(deployment.stack.name).read(kinds.DATABASE)

    def run(self, service: str, authority: Path, *command: str) -> process.Completed:
        """Run a program of a data service's image in a container of its own."""
        image = docker.container.inspect(self.deployment.service(service)).config.image
        options = ["--rm", "--network", self.network, "--user", "999:999"]
        options += ["--volume", f"{authority}:{AUTHORITY}:ro", "--entrypoint", command[0]]
        return process.probe(["docker", "run", *options, str(image), *command[1:]])

    def psql(self, authority: Path, *, mode: str = "verify-full", host: str = "letta-db") -> str:
        """Log in as the server does; return the answer, or why there is none."""
        uri = self.uri.replace("@letta-db:", f"@{host}:")
        uri += f"?sslmode={mode}&sslrootcert={AUTHORITY}"
        ended = self.run("letta-db", authority, "psql", uri, "-At", "-c", "SELECT current_user")
        return (ended.stdout + ended.stderr).strip()

    def redis(self, authority: Path, *command: str) -> str:
        """Send a command to Redis; return its answer."""
        tls = ["redis-cli", "-h", "letta-redis", "--tls", "--cacert", AUTHORITY]
        return self.run("letta-redis", authority, *tls, *command).stdout.strip()

    def ping(self, authority: Path, *options: str) -> str:
        """Ask Redis; return the answer, or why there is none."""
        command = ["redis-cli", "-h", "letta-redis", *options, "--user", "health", "--pass", "-"]
        ended = self.run("letta-redis", authority, *command, "ping")
        return (ended.stdout + ended.stderr).strip()


@pytest.fixture(scope="module")
def encrypted(deployment: Deployment) -> Deployment:
    """Turn TLS on, as an operator does."""
    flags = ("--env", "prod", "--project", deployment.stack.name, "--replicas", "2")
    inv("certs.internal", "--project", deployment.stack.name)
    port = deployment.url.rpartition(":")[2]
    inv("up", *flags, "--port", port, environment=deployment.stack.variables)
    return deployment


@pytest.fixture(scope="module")
def inside(encrypted: Deployment) -> Inside:
    return Inside(encrypted)


@pytest.fixture(scope="module")
def authority(encrypted: Deployment) -> Path:
    return store.directory(encrypted.stack.name) / store.INTERNAL / store.AUTHORITY


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an authority that signed nothing here."""
    directory = tmp_path_factory.mktemp("stranger")
    make.internal(directory, days=90, force=False, now=dt.datetime.now(tz=dt.UTC), say=print)
    return directory / store.INTERNAL / store.AUTHORITY


def said_again(client: Letta, agent: AgentState) -> str:
    """Let a background stream be written to Redis; return what it reads there."""
    with client.agents.messages.create(
        agent.id, input=WORDS, streaming=True, stream_tokens=True, background=True
    ) as stream:
        run_id = next(event.run_id for event in stream if event.message_type == "assistant_message")
    assert run_id is not None
    with client.runs.messages.stream(run_id, starting_after=0, poll_interval=0.1) as replay:
        said = [str(one.content) for one in replay if one.message_type == "assistant_message"]
    return "".join(said)


def test_the_server_works_and_each_of_its_connections_is_encrypted(
    encrypted: Deployment, client: Letta, agent: AgentState
) -> None:
    said = said_again(client, agent)
    connections = postgres.of(encrypted.stack).query(
        "SELECT DISTINCT ssl, version, usename LIKE 'letta\\_%' FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
        "WHERE client_addr IS NOT NULL"
    )

    assert said == f"STUB:{WORDS}"
    assert connections == [["t", "TLSv1.3", "t"]]


def test_postgres_is_spoken_to_by_tls_only_and_proves_who_it_is(
    inside: Inside, authority: Path, stranger: Path
) -> None:
    other_name = inside.deployment.service("letta-db")

    assert inside.psql(authority) == "letta"
    assert inside.psql(authority, host="pgvector_db") == "letta"
    assert "no encryption" in inside.psql(authority, mode="disable")
    assert "certificate verify failed" in inside.psql(stranger)
    assert "does not match host name" in inside.psql(authority, host=other_name)


def test_redis_is_spoken_to_by_tls_only_and_proves_who_it_is(
    inside: Inside, authority: Path, stranger: Path
) -> None:
    assert inside.ping(authority, "--tls", "--cacert", AUTHORITY).startswith("PONG")
    assert "PONG" not in inside.ping(authority)
    assert "certificate verify failed" in inside.ping(stranger, "--tls", "--cacert", AUTHORITY)


def test_a_server_that_trusts_another_authority_refuses_the_database(
    inside: Inside, stranger: Path
) -> None:
    user = ["--user", "10001:10001", "--read-only"]
    memory = ["--tmpfs", "/run:uid=10001", "--tmpfs", "/tmp", "--tmpfs", "/var/lib/letta:uid=10001"]
    settings = {"LETTA_PG_URI": inside.uri, "LETTA_ENCRYPTION_KEY": "any"}
    settings["LETTA_STACK_INTERNAL_CA"] = AUTHORITY
    options = ["--rm", "--network", inside.network, *user, *memory]
    options += ["--volume", f"{stranger}:{AUTHORITY}:ro"]
    options += [f"--env={name}={value}" for name, value in settings.items()]

    ended = process.probe(["docker", "run", *options, harness.IMAGE, "migrate"])

    assert ended.exit_code == DatabaseRefused.exit_code
    assert "the certificate of PostgreSQL at letta-db:5432 is not valid" in ended.stderr


def test_what_operators_do_goes_on_to_work(encrypted: Deployment, tmp_path: Path) -> None:
    flags = ("--env", "prod", "--project", encrypted.stack.name)

    inv("doctor", *flags)
    inv("backup.create", *flags, "--clear-secrets", "--dir", str(tmp_path / "backups"))

    assert len(list((tmp_path / "backups").iterdir())) == 1


@pytest.mark.timeout(600, func_only=True)  # two servers start, one after the other
def test_the_password_of_redis_is_rotated(
    encrypted: Deployment, inside: Inside, authority: Path, client: Letta, agent: AgentState
) -> None:
    mine = Store.of(encrypted.stack.name)
    before = mine.read(kinds.REDIS)

    inv("secrets.rotate", kinds.REDIS, "--env", "prod", "--project", encrypted.stack.name)

    after = mine.read(kinds.REDIS)
    assert "WRONGPASS" in inside.redis(authority, "AUTH", before)
    assert inside.redis(authority, "AUTH", after) == "OK"
    # It has no anonymous user: this comes from servers that log in with the new one.
    assert said_again(client, agent) == f"STUB:{WORDS}"
