"""A table is dropped, and the database comes back as it was the second before."""

from __future__ import annotations

from base64 import b64decode
from datetime import timedelta
from typing import TYPE_CHECKING

import pyrage
import pytest
from python_on_whales import docker

from letta_stack.base import process
from letta_stack.errors import BadValue, MomentOutOfRange
from letta_stack.operate import (
    archive,
    dump,
    manifest,
    postgres,
    recovery,
    secrets_bundle,
    store,
    verify,
)
from letta_stack.operate.holders.one_host import OneHost
from letta_stack.operate.place import Place
from letta_stack.secrets import archive as secrets
from letta_stack.secrets.store import Store
from letta_stack.topology.archive import ON, VARIABLE
from letta_stack.topology.catalogue import ARCHIVE, DATABASE, TOPOLOGIES
from tests.smoke import harness
from tests.smoke.conftest import Deployment, deployed, inv
from tests.smoke.test_observability import Dashboard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.tables import Table

IDENTITY = pyrage.x25519.Identity.generate()
SCHEDULE = {
    "LETTA_STACK_BACKUP_RECIPIENTS": str(IDENTITY.to_public()),
    "LETTA_STACK_BACKUP_INTERVAL": "1m",
}
CLOCK = "SELECT clock_timestamp() AT TIME ZONE 'UTC'"
SEARCH = 'cd /var/lib/pgbackrest && find . -type f -exec grep -l --binary-files=text "$1" {} +'


@pytest.fixture(scope="module")
def archived(topology: str) -> Iterator[Deployment]:
    with deployed(topology, f"{topology}-archive", harness.PROVIDER | {VARIABLE: ON}) as one:
        yield one


@pytest.fixture(scope="module")
def database(archived: Deployment) -> Postgres:
    return postgres.of(archived.stack)


def names(one: Deployment) -> set[str]:
    with one.client() as client:
        return {agent.name for agent in client.agents.list()}


def back_to(one: Deployment, moment: str, directory: Path) -> None:
    recovery.run(one.stack, moment, directory=directory, recipients=[], clear=False, yes=True)


@pytest.mark.only("prod")
@pytest.mark.timeout(600, func_only=True)
def test_a_dropped_table_comes_back_as_it_was_the_second_before(
    archived: Deployment, database: Postgres, tmp_path: Path
) -> None:
    harness.expect(
        lambda: archive.known(archived.stack), timeout=120, what="the first base backup to be done"
    )
    with archived.client() as client:
        kept = client.agents.create(model=harness.MODEL, name="kept")
        client.agents.messages.create(
            kept.id, messages=[{"role": "user", "content": f"told to {harness.RUN}"}]
        )
    before, moment = quiet(database)
    with archived.client() as client:
        client.agents.create(model=harness.MODEL, name="too-late")
    database.query("DROP TABLE messages CASCADE")

    back_to(archived, moment, tmp_path)

    assert names(archived) == {"kept"}
    with archived.client() as client:
        messages = [
            str(getattr(one, "content", "")) for one in client.agents.messages.list(kept.id)
        ]
    assert f"told to {harness.RUN}" in messages
    past, now = (one.manifest for one in store.every(tmp_path))
    assert past is not None
    assert now is not None
    assert past.tables == before
    # What was there is a backup: with the agent that came too late, and without the table.
    assert now.tables["public.agents"].rows == past.tables["public.agents"].rows + 1
    assert set(past.tables) - set(now.tables) == {"public.messages"}
    assert [one for one in docker.container.list(all=True) if "-recovery-" in one.name] == []


def quiet(database: Postgres) -> tuple[dict[str, Table], str]:
    """Return a moment and what there was: the same before it and after it, so nothing that a server does by itself counts."""
    seen: list[tuple[dict[str, Table], str]] = []

    def same() -> bool:
        seen.append((dump.content(database), f"{database.value(CLOCK)}+00"))
        return dump.content(database) == seen[-1][0]

    harness.expect(same, timeout=60, what="the servers to write no more")
    return seen[-1]


@pytest.mark.only("prod")
def test_what_cannot_be_brought_back_is_refused_before_anything_is_made(
    archived: Deployment, tmp_path: Path
) -> None:
    found = archive.known(archived.stack)
    assert found is not None

    for moment in ("yesterday", "2026-11-27 19:00"):
        with pytest.raises(BadValue, match="time"):
            back_to(archived, moment, tmp_path)
    day = timedelta(days=1)
    for strange in (found.since - day, found.since + day):
        with pytest.raises(MomentOutOfRange, match="is not in the archive"):
            back_to(archived, strange.isoformat(), tmp_path)

    assert store.every(tmp_path) == []


@pytest.mark.only("prod")
def test_nobody_reads_the_archive_without_its_key(archived: Deployment) -> None:
    key = Store.of(archived.stack.name).read(secrets.KEY)
    keeper = archived.service(ARCHIVE)

    found = docker.container.execute(
        keeper, ["sh", "-c", f"{SEARCH} || true", "sh", "told to\\|CREATE\\|letta"]
    )
    assert found == ""
    for name in (keeper, archived.service(DATABASE.name)):
        assert key not in process.capture(["docker", "container", "inspect", name])
        assert key not in docker.container.logs(name)
        processes = docker.container.execute(name, ["sh", "-c", "cat /proc/[0-9]*/cmdline"])
        assert key not in str(processes)


@pytest.fixture(scope="module")
def encrypted(topology: str) -> Iterator[Deployment]:
    """Bring a topology up with TLS inside, an archive, and a schedule of backups."""
    name = f"{topology}-encrypted"
    inv("certs.internal", "--env", topology, "--project", f"{harness.RUN}-{name}")
    settings = harness.PROVIDER | SCHEDULE | {VARIABLE: ON}
    ports = [
        word for one in TOPOLOGIES[topology].extra_ports for word in (one.flag, harness.free_port())
    ]
    with deployed(topology, name, settings, *ports) as one:
        yield one


@pytest.mark.long
@pytest.mark.only("observability")
@pytest.mark.timeout(600, func_only=True)
def test_backups_and_moments_with_tls_inside_beside_what_watches(
    encrypted: Deployment, tmp_path: Path
) -> None:
    stack = encrypted.stack
    database, directory = postgres.of(stack), store.directory_of(stack.name)
    harness.expect(lambda: store.every(directory), timeout=120, what="a backup of the schedule")
    (tmp_path / "identity").write_text(str(IDENTITY))
    with Place(directory, None).find("latest") as found:
        assert "are equal" in verify.verify(
            OneHost(stack), found, identity=tmp_path / "identity", key=""
        )
        sealed = (found.directory / manifest.SEALED_SECRETS).read_bytes()
        files = secrets_bundle.decrypt(sealed, tmp_path / "identity").files
        key = b64decode(files[f"run/secrets/{secrets.KEY}"]).decode().strip()
        assert key == Store.of(stack.name).read(secrets.KEY)
        first = found.id
    harness.expect(
        lambda: store.find(directory, "latest").id != first, timeout=240, what="the next backup"
    )

    harness.expect(lambda: archive.known(stack), timeout=120, what="the first base backup")
    assert (
        database.value(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'letta_1' LIMIT 1"
        )
        == "t"
    )
    _, moment = quiet(database)
    with encrypted.client() as client:
        client.agents.create(model=harness.MODEL, name="too-late")
    back_to(encrypted, moment, tmp_path / "backups")
    assert names(encrypted) == set()

    url = harness.published_url(encrypted.service("letta-dashboard"), 8080)
    harness.expect(
        lambda: Dashboard(url, Store.of(stack.name)).query("pg_stat_archiver_archived_count > 0"),
        timeout=120,
        what="the number of archived segments to be a metric",
    )
