"""The archive in a store with S3's API: the database comes back from there alone."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from python_on_whales import docker

from letta_stack.base import process
from letta_stack.certs import issue
from letta_stack.errors import ArchiveUnreachable
from letta_stack.operate import archive, postgres, store
from letta_stack.operate.bucket import Bucket
from letta_stack.secrets.store import Store
from letta_stack.topology import archive_store
from letta_stack.topology.archive import ON, VARIABLE
from letta_stack.topology.backups import CREDENTIALS_VARIABLE
from letta_stack.topology.catalogue import ARCHIVE, DATABASE
from tests.smoke import harness, modules
from tests.smoke.conftest import Deployment, deployed
from tests.smoke.test_recovery import back_to, names, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.only("prod")]

PORT = 7070
SECRET = "not-a-secret-of-a-store"


@dataclass(frozen=True)
class Elsewhere:
    """A stack whose archive is in a store, and that store."""

    deployment: Deployment
    container: str
    keys: Path

    @property
    def bucket(self) -> Bucket:
        """Look into the store from this machine."""
        return Bucket.of("s3://kept/stacks", self.deployment.stack.name, str(self.keys))


def keys(directory: Path, name: str, url: str) -> Path:
    path = directory / name
    path.write_text(
        f"[default]\naws_access_key_id = mine\naws_secret_access_key = {SECRET}\nregion = us-east-1\n"
        f"endpoint_url = {url}\nca_bundle = {directory / 'ca.pem'}\n",
        encoding="utf-8",
    )
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def running(directory: Path, network: str) -> Iterator[str]:
    """Run the store with a certificate of an own authority; give its container. It is `s3` for those in its network."""
    now = dt.datetime.now(dt.UTC)
    authority = issue.authority("test-store", now)
    pair = issue.leaf(authority, [x509.DNSName("s3"), x509.DNSName("localhost")], now)
    for name, content in (
        ("ca.pem", authority.certificate_pem),
        ("cert.pem", pair.certificate_pem),
        ("key.pem", pair.key_pem),
    ):
        (directory / name).write_bytes(content)
    with harness.running(
        "archive-s3",
        image=modules.image("s3"),
        command=[
            "--port",
            f":{PORT}",
            "--cert=/tls/cert.pem",
            "--key=/tls/key.pem",
            "posix",
            "/data",
        ],
        networks=[network],
        network_aliases=["s3"],
        envs={"ROOT_ACCESS_KEY": "mine", "ROOT_SECRET_KEY": SECRET},
        publish=[("127.0.0.1:", PORT)],
        volumes=[(directory, "/tls", "ro")],
    ) as container:
        yield container


@pytest.fixture(scope="module")
def elsewhere(topology: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    directory = tmp_path_factory.mktemp("store")
    project = f"{harness.RUN}-{topology}-elsewhere"
    # As in `deployed`: compose takes it for its own, and `inv down` removes it.
    network = f"{project}_{archive_store.NAME}"
    labels = {"project": project, "network": archive_store.NAME}
    docker.network.create(
        network, labels={f"com.docker.compose.{name}": value for name, value in labels.items()}
    )
    with running(directory, network) as container:
        port = harness.published_url(container, PORT).rpartition(":")[2]
        outside = keys(directory, "outside", f"https://localhost:{port}")
        bucket = Bucket.of("s3://kept/stacks", project, str(outside))
        harness.expect(
            lambda: bucket.client.create_bucket(Bucket=bucket.name) is not None,
            timeout=60,
            what="the store to take a bucket",
        )
        settings = harness.PROVIDER | {
            VARIABLE: ON,
            archive_store.VARIABLE: "s3://kept/stacks",
            CREDENTIALS_VARIABLE: str(keys(directory, "inside", f"https://s3:{PORT}")),
        }
        with deployed(topology, f"{topology}-elsewhere", settings) as one:
            try:
                yield Elsewhere(one, container, outside)
            finally:
                docker.network.disconnect(network, container, force=True)


@pytest.mark.timeout(900, func_only=True)
def test_a_moment_comes_back_from_a_store_alone(elsewhere: Elsewhere, tmp_path: Path) -> None:
    stack = elsewhere.deployment.stack
    database = postgres.of(stack)
    harness.expect(lambda: archive.known(stack), timeout=240, what="the first base backup")
    with elsewhere.deployment.client() as client:
        client.agents.create(model=harness.MODEL, name="kept")
    before, moment = quiet(database)
    with elsewhere.deployment.client() as client:
        client.agents.create(model=harness.MODEL, name="too-late")
    database.query("DROP TABLE messages CASCADE")

    assert "point in time: any from" in archive.as_text(stack)
    back_to(elsewhere.deployment, moment, tmp_path)

    assert names(elsewhere.deployment) == {"kept"}
    past = store.every(tmp_path)[0].manifest
    assert past is not None
    assert past.tables == before
    found = docker.container.execute(
        elsewhere.deployment.service(ARCHIVE), ["find", "/var/lib/pgbackrest", "-type", "f"]
    )
    assert found == "", "the volume has a part of the archive"
    listed = elsewhere.bucket.client.list_objects_v2(Bucket="kept", Prefix=elsewhere.bucket.prefix)
    assert {one["Key"].split("/")[2] for one in listed["Contents"]} == {archive_store.NAME}
    # For backups there is nothing.
    assert elsewhere.bucket.objects() == {}


def test_nobody_sees_the_keys_of_the_store(elsewhere: Elsewhere) -> None:
    for service in (ARCHIVE, DATABASE.name):
        name = elsewhere.deployment.service(service)
        assert SECRET not in process.capture(["docker", "container", "inspect", name])
        assert SECRET not in docker.container.logs(name)
        processes = docker.container.execute(name, ["sh", "-c", "cat /proc/[0-9]*/cmdline"])
        assert SECRET not in str(processes)
    path = Store.of(elsewhere.deployment.stack.name).path("archive-key.conf")
    assert SECRET in path.read_text(encoding="utf-8")
    assert path.parent.stat().st_mode & 0o077 == 0


def health(container: str) -> str:
    template = "--format={{.State.Health.Status}}"
    return process.capture(["docker", "container", "inspect", template, container]).strip()


@pytest.mark.timeout(600, func_only=True)
def test_a_store_that_is_gone_is_seen_and_comes_back(elsewhere: Elsewhere) -> None:
    stack = elsewhere.deployment.stack
    keeper = elsewhere.deployment.service(ARCHIVE)
    docker.container.stop(elsewhere.container, time=0)
    harness.expect(
        lambda: health(keeper) == "unhealthy",
        timeout=300,
        what="the keeper of the archive to say that it cannot reach it",
    )
    with pytest.raises(ArchiveUnreachable, match="unable to get address for 's3'"):
        archive.known(stack)
    assert "cannot be asked" in archive.as_text(stack)

    docker.container.start(elsewhere.container)
    harness.expect(
        lambda: health(keeper) == "healthy",
        timeout=300,
        what="the keeper of the archive to be well again",
    )
    harness.expect(lambda: archive.known(stack), timeout=60, what="the archive to be there")
