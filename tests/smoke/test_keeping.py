"""What is kept: the disk becomes full and loses nothing, what grows has an end, and backups are made by themselves."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

import pyrage
import pytest
import requests
from botocore.exceptions import BotoCoreError
from python_on_whales import docker

from letta_stack.errors import BackupNoRoom, StoreFailed
from letta_stack.operate import backup, manifest, postgres, restore, restore_checks, store, verify
from letta_stack.operate.bucket import Bucket
from letta_stack.operate.faults import disk
from letta_stack.operate.holders.one_host import OneHost
from letta_stack.operate.place import Place
from letta_stack.topology import metrics
from letta_stack.topology.catalogue import BACKUP, DATABASE
from tests.smoke import disks, harness, modules
from tests.smoke.conftest import Deployment, arguments_of, deployed, inv, provider_network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from letta_stack.operate.postgres import Postgres

RESERVE_MIB = 96
DISK_MIB = 420
"""A new database, its log, and the reserve."""
SETTINGS = {
    "LETTA_STACK_DISK_RESERVE": str(RESERVE_MIB),
    # What the shortened clock of the test below needs.
    "LETTA_STACK_TRACES_KEEP": "5s",
    "LETTA_STACK_BACKUP_INTERVAL": "1m",
    "LETTA_STACK_BACKUP_KEEP": "1",
    "LETTA_STACK_BACKUP_DAYS": "0",
}
IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = {"LETTA_STACK_BACKUP_RECIPIENTS": str(IDENTITY.to_public())}
EMPTY_KIB, TRACE_KIB = 80, 8
"""The size of the table of traces without any, and what each would add for ever."""
S3_PORT = 7070
S3_SECRET = secrets.token_hex(16)
WORDS = " ".join(["word"] * 30)
FULL_FUNCTION = """
CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
"""


@pytest.fixture(scope="module")
def small(topology: str) -> Iterator[Deployment]:
    """Bring a topology up whose database has little disk: memory, of which the engine makes a volume of any size."""
    project = f"{harness.RUN}-{topology}-full"
    disks.make(topology, project, DISK_MIB)
    settings = harness.PROVIDER | SETTINGS | ({} if topology == "single" else RECIPIENT)
    with deployed(topology, f"{topology}-full", settings) as one:
        yield one


@pytest.fixture(scope="module")
def database(small: Deployment) -> Postgres:
    return postgres.of(small.stack)


def place(one: Deployment) -> tuple[str, str]:
    names = {state.service: state.container for state in one.stack.runner.states()}
    if DATABASE.name in names:
        return "/var/lib/postgresql/data", names[DATABASE.name]
    return "/var/lib/letta", one.container


@contextlib.contextmanager
def filled(one: Deployment, *, leave_mib: int) -> Iterator[None]:
    """Write a file until so much is left on the database's disk."""
    where, container = place(one)
    user = "0" if container == one.container else ""
    with disk.filled(container, where, leave=leave_mib * disk.MIB, user=user):
        yield


def call(one: Deployment, method: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(
        method,
        f"{one.url}/v1{path}",
        json=body,
        headers={"Authorization": f"Bearer {one.password}"},
        timeout=60,
    )


def all_say(one: Deployment, status: str) -> bool:
    """Tell whether every replica has that status: each looks by itself, and nginx asks one after the other."""
    answers = [call(one, "GET", "/health/") for _ in range(8)]
    return all(answer.json()["status"] == status for answer in answers)


def texts(one: Deployment, agent: str) -> list[str]:
    """Return what the users of an agent said, as it is stored."""
    messages = call(one, "GET", f"/agents/{agent}/messages?limit=100").json()
    return [str(one["content"]) for one in messages if one["message_type"] == "user_message"]


def agents(one: Deployment) -> dict[str, str]:
    return {agent["id"]: agent["name"] for agent in call(one, "GET", "/agents/").json()}


@pytest.mark.only("single", "prod")
def test_writing_ends_before_the_disk_is_full_and_room_brings_it_back(small: Deployment) -> None:
    agent, other = (
        call(small, "POST", "/agents/", {"model": harness.MODEL}).json()["id"] for _ in range(2)
    )
    started = small.inspect().state.started_at
    streamed: list[str] = []

    def stream() -> None:
        body = {"input": f"running {WORDS}", "streaming": True, "stream_tokens": True}
        streamed.append(call(small, "POST", f"/agents/{agent}/messages/stream", body).text)

    turn = threading.Thread(target=stream)
    turn.start()
    time.sleep(1)
    with filled(small, leave_mib=RESERVE_MIB // 2):
        harness.expect(lambda: all_say(small, "disk-full"), timeout=10, what="health to say so")

        for method, path, body in (
            ("POST", f"/agents/{agent}/messages", {"input": "refused"}),
            ("POST", "/agents/", {"model": harness.MODEL, "name": "refused"}),
            ("PATCH", f"/agents/{agent}", {"name": "refused"}),
        ):
            answer = call(small, method, path, body)
            assert answer.status_code == 507, answer.text
            assert answer.json()["reason"] == "disk-full"
            assert "kept in reserve" in answer.json()["detail"]
        assert call(small, "GET", "/ready/").status_code == 503
        assert call(small, "GET", "/health/").ok
        assert small.health == "healthy"
        # No password, no news.
        assert requests.post(f"{small.url}/v1/agents/", timeout=10).status_code == 401

        turn.join(60)
        assert streamed
        assert "data: [DONE]" in streamed[0]
        assert f"running {WORDS}" in texts(small, agent)
        assert call(small, "DELETE", f"/agents/{other}").ok

    harness.expect(lambda: all_say(small, "ok"), timeout=10, what="health to be ok again")
    assert call(small, "POST", f"/agents/{agent}/messages", {"input": "works again"}).ok
    assert "refused" not in agents(small).values()
    assert texts(small, agent)[-1:] == ["works again"]
    assert small.inspect().state.started_at == started


@pytest.mark.only("single", "prod")
def test_what_cannot_be_stored_is_an_error_and_leaves_nothing_half_made(
    small: Deployment, database: Postgres
) -> None:
    agent = call(small, "POST", "/agents/", {"model": harness.MODEL}).json()["id"]
    before = agents(small)
    database.query(
        FULL_FUNCTION + "CREATE TRIGGER full_disk BEFORE INSERT ON messages "
        "FOR EACH ROW EXECUTE FUNCTION public.full_disk();"
    )
    try:
        turn = call(small, "POST", f"/agents/{agent}/messages", {"input": "lost"})
        body = {"input": "lost", "streaming": True, "stream_tokens": True}
        streamed = call(small, "POST", f"/agents/{agent}/messages/stream", body).text
        made = call(small, "POST", "/agents/", {"model": harness.MODEL, "name": "half-made"})
    finally:
        database.query("DROP FUNCTION public.full_disk() CASCADE")

    for answer in (turn, made):
        assert answer.status_code == 507, answer.text
        assert "disk is full" in answer.json()["detail"]
    assert "event: error" in streamed
    assert "end_turn" not in streamed
    assert texts(small, agent) == []
    assert agents(small) == before
    assert call(small, "POST", f"/agents/{agent}/messages", {"input": "kept"}).ok


def traces(database: Postgres) -> tuple[int, int]:
    """Return how many there are, and the size of their table in KiB."""
    sql = "SELECT count(*), pg_total_relation_size('provider_traces') / 1024 FROM provider_traces"
    (row,) = database.query(sql)
    return int(row[0]), int(row[1])


@pytest.mark.parametrize(
    "turns",
    [
        pytest.param(4, marks=pytest.mark.only("single", "prod")),
        pytest.param(
            240,
            marks=[pytest.mark.only("prod"), pytest.mark.long, pytest.mark.timeout(1200)],
        ),
    ],
)
def test_what_is_kept_for_debugging_reaches_a_plateau(
    small: Deployment, database: Postgres, turns: int
) -> None:
    agent = call(small, "POST", "/agents/", {"model": harness.MODEL}).json()["id"]
    seen = []
    for number in range(turns):
        assert call(small, "POST", f"/agents/{agent}/messages", {"input": f"turn {number}"}).ok
        seen.append(traces(database))
        if number % 60 == 59:
            assert call(small, "PATCH", f"/agents/{agent}/reset-messages", {}).ok
    print(json.dumps(seen))

    if turns > 100:
        assert max(size for _, size in seen) < EMPTY_KIB + turns * TRACE_KIB / 3
    harness.expect(lambda: traces(database)[0] == 0, timeout=30, what="old traces to go")
    assert database.value("SHOW max_wal_size") == "256MB"


@pytest.mark.only("prod")
def test_backups_are_made_by_themselves_and_can_be_restored(
    small: Deployment, tmp_path: Path
) -> None:
    directory = store.directory_of(small.stack.name)
    harness.expect(lambda: store.every(directory), timeout=90, what="a backup")
    container = docker.container.inspect(small.service(BACKUP))
    assert container.host_config.readonly_rootfs
    assert (container.config.user or "0").partition(":")[0] not in {"", "0"}
    assert not [one.source for one in container.mounts if (one.source or "").endswith(".sock")]

    # Read through its place, the schedule lets it be.
    with Place(directory, None).find("latest") as first:
        identity = tmp_path / "identity"
        identity.write_text(str(IDENTITY))
        assert "are equal" in verify.verify(OneHost(small.stack), first, identity=identity, key="")
        everything = b"".join(one.read_bytes() for one in first.directory.iterdir())
        assert not [name for name, one in small.secrets().items() if one.encode() in everything]
        metric = metrics.directory(small.stack.name) / f"{metrics.BACKUP}.prom"
        assert float(metric.read_text().split()[-1]) >= first.created.timestamp()
        # As if the database were larger: to fill the disk up to its last bytes would end PostgreSQL now and then.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(restore_checks, "ROOM", 100.0)
            with pytest.raises(BackupNoRoom, match="MiB free, and what is to be restored needs"):
                restore.restore(
                    small.stack, first, identity=identity, directory=tmp_path / "no", to=[]
                )
        assert not (tmp_path / "no").exists()
        # The newest one that was verified would stay for ever.
        (first.directory / store.VERIFIED).unlink()


@pytest.mark.long
@pytest.mark.only("prod")
def test_the_next_backup_takes_the_place_of_the_last_one(small: Deployment) -> None:
    directory = store.directory_of(small.stack.name)
    harness.expect(lambda: store.every(directory), timeout=90, what="a backup")
    first = store.find(directory, "latest").id

    harness.expect(
        lambda: first not in [one.id for one in store.every(directory)],
        timeout=120,
        what="another backup",
    )
    assert [one.problem for one in store.every(directory)] == [""]


@contextlib.contextmanager
def s3(one: Deployment) -> Iterator[str]:
    """Run a store with S3's API where the services of a stack reach it; give its container."""
    with harness.running(
        "s3",
        image=modules.image("s3"),
        networks=[f"{one.stack.name}_{provider_network('prod')}"],
        network_aliases=["s3"],
        envs={"ROOT_ACCESS_KEY": "mine", "ROOT_SECRET_KEY": S3_SECRET},
        publish=[("127.0.0.1:", S3_PORT)],
    ) as container:
        yield container


def keys(path: Path, url: str) -> Path:
    path.write_text(
        f"[default]\naws_access_key_id = mine\naws_secret_access_key = {S3_SECRET}\n"
        f"region = us-east-1\nendpoint_url = {url}\n"
    )
    path.chmod(0o600)
    return path


@pytest.mark.long
@pytest.mark.timeout(900, func_only=True)
@pytest.mark.only("prod")
def test_backups_go_to_a_store_and_come_back(small: Deployment, tmp_path: Path) -> None:
    directory = tmp_path / "waiting"
    with s3(small) as container:
        url = harness.published_url(container, S3_PORT)
        bucket = Bucket.of("s3://kept/stacks", small.stack.name, str(keys(tmp_path / "keys", url)))
        harness.expect(lambda: creates(bucket), timeout=30, what="the store to take a bucket")
        made = backup.create(small.stack, directory=directory, to=[], omit=True, bucket=bucket)
        assert list(directory.iterdir()) == []

        # One that breaks off: the dump is there, its manifest never comes.
        put = bucket.client.upload_file

        def broken(path: str, name: str, key: str) -> None:
            if path.endswith(manifest.NAME):
                docker.container.stop(container, time=0)
            put(path, name, key)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bucket.client, "upload_file", broken)
            with pytest.raises(StoreFailed):
                backup.create(small.stack, directory=directory, to=[], omit=True, bucket=bucket)
        assert list(directory.iterdir()) == []
        docker.container.start(container)
        url = harness.published_url(container, S3_PORT)
        bucket = Bucket.of("s3://kept/stacks", small.stack.name, str(keys(tmp_path / "keys", url)))
        harness.expect(bucket.objects, timeout=30, what="the store to be back")
        with bucket.every() as listed:
            assert [one.id for one in listed] == [made.id]

        key = small.secrets()["encryption-key"]
        with bucket.find("latest") as found:
            assert "are equal" in verify.verify(OneHost(small.stack), found, identity=None, key=key)
        with bucket.every() as listed:
            assert listed[0].verified
        call(small, "POST", "/agents/", {"model": harness.MODEL, "name": "too-late"})
        with bucket.find(made.id) as found:
            restore.restore(small.stack, found, identity=None, directory=directory, to=[])
        assert "too-late" not in agents(small).values()

        # The service, which reaches the store by another name.
        inside = keys(tmp_path / "inside", f"http://s3:{S3_PORT}")
        os.chown(inside, *owner_of_backups(small))
        elsewhere = {
            "LETTA_STACK_BACKUP_TO": "s3://kept/scheduled",
            "LETTA_STACK_BACKUP_CREDENTIALS": str(inside),
        }
        port = ("--port", small.url.rpartition(":")[2], "--replicas", "2")
        settings = harness.blank_environment() | harness.PROVIDER | SETTINGS | RECIPIENT | elsewhere
        inv("up", *arguments_of(small.stack), *port, environment=settings)
        scheduled = Bucket.of("s3://kept/scheduled", small.stack.name, str(tmp_path / "keys"))
        harness.expect(lambda: problems(scheduled) == [""], timeout=90, what="the service's backup")


def problems(bucket: Bucket) -> list[str]:
    with bucket.every() as listed:
        return [one.problem for one in listed]


def creates(bucket: Bucket) -> bool:
    try:
        bucket.client.create_bucket(Bucket=bucket.name)
    except BotoCoreError:
        return False
    return True


def owner_of_backups(one: Deployment) -> tuple[int, int]:
    found = store.directory_of(one.stack.name).stat()
    return found.st_uid, found.st_gid
