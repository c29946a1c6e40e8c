"""Upstream's data become a stack's own: compared, its secrets readable, the original as it was."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from letta_client import Letta
from python_on_whales import docker

from bench import build
from letta_stack.base import process
from letta_stack.base.paths import SECRETS, STATE
from letta_stack.errors import (
    SourceForeign,
    SourceInUse,
    SourceKeyMissing,
    SourceNewer,
    SourceOlder,
)
from letta_stack.image import third_party
from letta_stack.image.contract import API_PORT
from letta_stack.image.sources import find_ca
from letta_stack.operate import postgres, secrets_bundle, store
from letta_stack.operate.adopt import examine, run, sealing
from letta_stack.operate.postgres import Postgres
from letta_stack.secrets import kinds
from letta_stack.secrets.store import Store
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.project import Project
from tests.smoke import harness
from tests.smoke.conftest import provider_network
from tests.support import images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.smoke.conftest import Deployment

pytestmark = pytest.mark.last

DATA = "/var/lib/postgresql/data"
START_SECONDS = 480.0  # 15 on an idle machine; it has no files of byte code that it could write
# What upstream's init.sql does: a schema of its own, found by a property of the database, and no `public`.
LAYOUT = """
CREATE SCHEMA letta; ALTER DATABASE letta SET search_path TO letta;
CREATE EXTENSION vector WITH SCHEMA letta; DROP SCHEMA public;
"""
# A server with a key takes a value of this length and these letters for one that it has encrypted.
SECRET = secrets.token_hex(48)
UPSTREAM = "letta-stack/test-upstream"
# No setting turns the download at upstream's start off; where it hangs, so does the start.
OFFLINE = [("raw.githubusercontent.com", "127.0.0.1")]
CHECKSUMS = "cd /data && find . -type f -exec cksum {} + | sort | cksum"


@dataclass(frozen=True)
class Known:
    """What a server says that it has, by the name of the agent."""

    agents: dict[str, tuple[list[str], list[str], dict[str, str]]]
    blocks: set[str]


def fill(client: Letta, count: int) -> None:
    """Make agents with messages, passages and secrets, and a provider with a key."""
    client.post(
        "/v1/providers/",
        cast_to=object,
        body={
            "name": "mine",
            "provider_type": "openai",
            "api_key": SECRET,
            "base_url": harness.PROVIDER["OPENAI_BASE_URL"],
        },
    )
    for number in range(count):
        one = client.agents.create(
            name=f"adopted-{number}",
            model=harness.MODEL,
            embedding=harness.EMBEDDING,
            memory_blocks=[{"label": "human", "value": f"Name: Ada {number}."}],
            secrets={"TOKEN": SECRET},
        )
        client.agents.messages.create(one.id, input=f"hello {number}")
        client.agents.passages.create(one.id, text=f"parcel {number} is in the cellar")


def known(client: Letta) -> Known:
    """Ask for everything that a move may lose."""
    agents = {
        one.name: (
            [str(message) for message in client.agents.messages.list(one.id, limit=100)],
            [str(passage.text) for passage in client.agents.passages.list(one.id)],
            {str(item.key): str(item.value) for item in one.secrets or []},
        )
        for one in client.agents.list(include=["agent.secrets"], limit=100)
    }
    return Known(agents, {str(block.value) for block in client.blocks.list(limit=100)})


def connect(url: str, password: str = "none") -> Letta:
    return Letta(base_url=url, api_key=password, timeout=harness.REQUEST_SECONDS * 2, max_retries=0)


def wait_for(url: str) -> None:
    command = ["curl", "--silent", "--fail", "--max-time", "5", harness.health_url(url)]
    harness.expect(
        lambda: process.probe(command).ok,
        timeout=START_SECONDS,
        what="upstream's server does not answer",
    )


@contextlib.contextmanager
def volume(name: str) -> Iterator[str]:
    created = docker.volume.create(f"{harness.RUN}-{name}")
    try:
        yield created.name
    finally:
        docker.volume.remove(created.name)


def checksum(name: str) -> str:
    options = ["--rm", "--network=none", f"--volume={name}:/data:ro", "--entrypoint=sh"]
    return process.capture(["docker", "run", *options, harness.IMAGE, "-c", CHECKSUMS])


@pytest.fixture
def network(deployment: Deployment) -> str:
    """Return the network on which the scripted language model answers."""
    return f"{deployment.stack.name}_{provider_network(deployment.stack.topology.name)}"


@pytest.fixture
def old_database(network: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Run a PostgreSQL 15 as upstream's compose file does; return its container and volume."""
    layout = tmp_path / "init.sql"
    layout.write_text(LAYOUT)
    environment = dict.fromkeys(("POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"), "letta")
    with (
        volume("old") as data,
        harness.running(
            "old-db",
            image=images.prepare(["dev"])["POSTGRES_IMAGE"],
            envs=environment,
            networks=[network],
            network_aliases=["old-db"],
            publish=[("127.0.0.1:", 5432)],
            volumes=[(data, DATA), (layout, "/docker-entrypoint-initdb.d/init.sql", "ro")],
        ) as container,
    ):
        ready = ["docker", "exec", container, "pg_isready", "-q", "-h", "127.0.0.1"]
        harness.expect(lambda: process.probe(ready).ok, timeout=60, what="no PostgreSQL")
        yield container, data


@pytest.fixture
def old_server(old_database: tuple[str, str], network: str) -> Iterator[str]:
    """Run the server as upstream's start script does, without a key; return where it answers."""
    assert old_database
    environment = harness.PROVIDER | {
        "HOME": "/tmp",
        "LETTA_PG_URI": "postgresql://letta:letta@old-db:5432/letta",
    }
    start = "cd /opt/letta && alembic upgrade head && cd /tmp && exec letta server --host 0.0.0.0"
    with harness.running(
        "old-server",
        command=["-c", start],
        entrypoint="sh",
        healthcheck=False,
        envs=environment,
        networks=[network],
        add_hosts=OFFLINE,
        publish=[("127.0.0.1:", API_PORT)],
    ) as container:
        url = harness.published_url(container)
        wait_for(url)
        yield url


@pytest.mark.only("single")
@pytest.mark.timeout(600, func_only=True)
def test_the_data_of_upstream_become_the_stacks_own(
    deployment: Deployment,
    old_database: tuple[str, str],
    old_server: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stack, (container, data) = deployment.stack, old_database
    with connect(old_server) as client:
        fill(client, 2)
        before = known(client)
    docker.container.stop(f"{harness.RUN}-old-server", time=5)
    source = Postgres(container, "letta", "letta", "letta")
    backups = store.every(store.directory_of(stack.name))

    (no_key := tmp_path / "no-key").write_text("")
    refused(SourceInUse, stack, data)
    refused(SourceForeign, stack, container, database="postgres")
    (revision,) = source.query("SELECT version_num FROM letta.alembic_version")
    source.query("UPDATE letta.alembic_version SET version_num = 'ffffffffffff'")
    refused(SourceNewer, stack, container)
    source.query("DELETE FROM letta.alembic_version")
    refused(SourceOlder, stack, container)
    source.query(f"INSERT INTO letta.alembic_version VALUES ('{revision[0]}')")
    refused(SourceKeyMissing, stack, container)
    capsys.readouterr()
    run.adopt(stack, examine.Order(source=container, key_file=str(no_key), dry_run=True))
    live = capsys.readouterr().out
    assert "2 agents, 6 messages" in live
    port = harness.published_url(container, 5432).rpartition(":")[2]
    uri = f"postgresql://letta:letta@127.0.0.1:{port}/letta"
    run.adopt(stack, examine.Order(source=uri, key_file=str(no_key), dry_run=True))
    # PostgreSQL's own work meanwhile may make a table a page larger.
    both = (re.sub(r"[0-9.]+ MiB", "", text) for text in (live, capsys.readouterr().out))
    one, other = (text.splitlines()[1:] for text in both)
    assert one == other
    assert store.every(store.directory_of(stack.name)) == backups

    # As upstream's image stops: with a postmaster.pid, and without a word to PostgreSQL.
    docker.container.kill(container)
    original = checksum(data)
    run.adopt(stack, examine.Order(source=data, key_file=str(no_key), yes=True))

    assert checksum(data) == original
    with connect(deployment.url, deployment.password) as client:
        assert known(client) == before
    assert before.agents["adopted-1"][2] == {"TOKEN": SECRET}
    assert_secrets_are_encrypted(stack, deployment.container)
    assert len(store.every(store.directory_of(stack.name))) == len(backups) + 1
    target = postgres.of(stack)
    assert target.query("SELECT datname FROM pg_database WHERE datname ~ 'adopt|before'") == []
    assert process.capture(["docker", "ps", "-aq", "--filter=name=letta-stack-adopt"]) == ""


@pytest.mark.only("single")
def test_a_value_that_is_empty_is_known_to_be_encrypted(image: str) -> None:
    values = sealing.run(image, {"key": "", "new": "mine", "values": ["", "secret"]})
    cells = [("providers", "api_key_enc", str(number), one) for number, one in enumerate(values)]

    assert sealing.look(cells, "mine", image) == sealing.Values(2, 2, 2)
    assert sealing.look(cells, "another", image) == sealing.Values(2, 2, 0)


def refused(error: type[Exception], stack: Project, source: str, database: str = "") -> None:
    with pytest.raises(error):
        run.adopt(stack, examine.Order(source=source, database=database, yes=True))


def assert_secrets_are_encrypted(stack: Project, server: str) -> None:
    """Check that no secret is there as it was, and that the stack's own key opens each."""
    cells = sealing.cells(postgres.of(stack), "public")
    key = secrets_bundle.collect(server).encryption_key
    values = sealing.look(cells, key, harness.IMAGE)
    where = [(table, column, len(value)) for table, column, _, value in cells]
    assert 0 < values.total == values.sealed == values.opened, where
    assert not [one for one in cells if SECRET in one]


@pytest.fixture
def upstream(tmp_path: Path) -> str:
    """Build upstream's own image from the sdist, as the benchmark does."""
    if not third_party.is_local(UPSTREAM):
        ca = find_ca("", os.environ)
        source = build.unpack_sdist(tmp_path / "sdist", ca)
        command = build.upstream_argv(
            source, tmp_path, ca, (third_party.native(),), image=UPSTREAM, ours=harness.IMAGE
        )
        process.run(command)
    return UPSTREAM


@pytest.fixture
def empty(topology: str) -> Iterator[Project]:
    """Name a project that does not exist, and leave nothing of it behind."""
    images.prepare([topology])
    name = f"{harness.RUN}-adopted"
    stack = Project.of(topology, project=name, port=harness.free_port())
    try:
        yield stack.with_variables({**harness.blank_environment(), **harness.PROVIDER})
    finally:
        stack.runner.down(volumes=True)
        for directory in (SECRETS / name, STATE / name):
            shutil.rmtree(directory, ignore_errors=True)
        assert harness.leftovers(name) == []


@pytest.mark.long
@pytest.mark.only("prod")
@pytest.mark.timeout(1800, func_only=True)
def test_upstreams_own_container_becomes_a_stack(upstream: str, empty: Project) -> None:
    # Short and with a blank: no key of ours would be.
    environment = harness.PROVIDER | {"LETTA_ENCRYPTION_KEY": "old key!"}
    with (
        harness.network(f"{harness.RUN}-upstream") as network,
        harness.script(
            "upstream-stub", "llm_stub.py", networks=[network], network_aliases=[harness.STUB_HOST]
        ),
        volume("upstream") as data,
        harness.running(
            "upstream",
            image=upstream,
            envs=environment,
            networks=[network],
            add_hosts=OFFLINE,
            volumes=[(data, DATA)],
            publish=[("127.0.0.1:", API_PORT)],
        ) as container,
    ):
        url = harness.published_url(container)
        wait_for(url)
        with connect(url) as client:
            fill(client, 5)
            before = known(client)
        docker.container.stop(container, time=30)
        original = checksum(data)

        run.adopt(empty, examine.Order(source=container))

        assert checksum(data) == original
    server = next(one.container for one in empty.runner.states() if one.service == SERVER)
    password = Store.of(empty.name).read(kinds.SERVER)
    with connect(f"http://127.0.0.1:{port_of(empty)}", password) as client:
        assert known(client) == before
    assert_secrets_are_encrypted(empty, server)


def port_of(stack: Project) -> str:
    return str(stack.variables["LETTA_STACK_PORT"])
