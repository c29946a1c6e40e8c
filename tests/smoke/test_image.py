"""The image by itself: `docker run -p ... -v ... IMAGE`, without compose, without a language model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import requests
from python_on_whales import DockerException, docker

from letta_stack.base import process
from letta_stack.image.contract import API_PORT
from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.smoke.harness import Server

LISTENING = "0A"
# As in /proc/net/tcp: 127.0.0.0/8, the same in IPv6's clothes, and ::1.
LOOPBACK = re.compile(r"(?:0{16}FFFF0000)?[0-9A-F]{6}7F:|0{24}01000000:")
SECRET_ASSIGNMENT = re.compile(r"\b\w*(?:PASSWORD|SECRET|TOKEN|API_KEY|ENCRYPTION_KEY)=\S+")


@pytest.fixture(scope="module")
def plain(image: str) -> Iterator[Server]:
    with harness.server("plain", image=image) as server:
        server.wait_until_healthy()
        yield server


def test_docker_run_alone_gives_a_working_server(plain: Server) -> None:
    assert requests.get(harness.health_url(plain.url), timeout=10).status_code == 200
    assert requests.get(f"{plain.url}/v1/agents/", timeout=10).status_code == 401
    with plain.client() as client:
        assert client.agents.list().items == []


def test_only_the_api_can_be_reached_from_other_containers(plain: Server) -> None:
    sockets = plain.execute("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
    rows = [line.split() for line in sockets if not line.lstrip().startswith("sl")]
    addresses = {row[1] for row in rows if row[3] == LISTENING}
    ports = {int(address.rpartition(":")[2], 16) for address in addresses}
    exposed = {
        int(address.rpartition(":")[2], 16) for address in addresses if not LOOPBACK.match(address)
    }

    assert ports >= {5432, 6379, 4317, API_PORT}
    assert exposed == {API_PORT}


def test_the_image_itself_carries_no_secret(image: str) -> None:
    history = process.capture(
        ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image]
    )
    configuration = process.capture(["docker", "image", "inspect", image])

    assert len(history.splitlines()) > 1
    assert SECRET_ASSIGNMENT.findall(history) == []
    assert SECRET_ASSIGNMENT.findall(configuration) == []


def test_the_image_ships_no_private_key(plain: Server) -> None:
    # Upstream's has one for localhost, known to everybody.
    found = plain.execute(
        "sh",
        "-c",
        "find / -xdev -path /proc -prune -o -type f \\( -name '*.pem' -o -name '*.key' \\) "
        "-exec grep -l 'PRIVATE KEY-----' {} + || true",
    )

    assert found.split() == []


@pytest.mark.parametrize(
    "files",
    [
        "base file",
        "base file content-keep",
        "base clickhouse kept",
        "base clickhouse clickhouse-seed kept waiting content-keep",
        "base clickhouse kept waiting clickhouse-draining prometheus services",
        "base signoz kept",
        "base signoz kept waiting signoz-draining",
    ],
)
def test_the_collector_of_the_image_accepts_its_configurations(plain: Server, files: str) -> None:
    settings = {
        "CLICKHOUSE_ENDPOINT": "http://clickhouse:8123",
        "CLICKHOUSE_DATABASE": "otel",
        "CLICKHOUSE_USERNAME": "default",
        "CLICKHOUSE_PASSWORD": "for-validation-only",
        "SIGNOZ_ENDPOINT": "signoz:4317",
        "SIGNOZ_INGESTION_KEY": "for-validation-only",
        "SIGNOZ_INSECURE": "true",
        "OTEL_DIRECTORY": f"{harness.VOLUME_PATH}/otel",
        "OTEL_LISTEN": "127.0.0.1",
        "OTEL_LOG_FILES": "/var/log/none",
        "OTEL_QUEUE_SIZE": "1000",
        "OTEL_SERVICE_LOGS": "/var/log/letta",
    }
    # The directory of the persistent queue must exist; only the backends with a queue make it.
    plain.execute("mkdir", "-p", f"{harness.VOLUME_PATH}/otel/storage")
    configuration = [f"--config=/etc/otel/{name}.yaml" for name in files.split()]

    docker.container.execute(
        plain.container, ["otelcol-contrib", "validate", *configuration], envs=settings
    )


def test_the_collector_of_the_image_refuses_a_wrong_configuration(plain: Server) -> None:
    wrong = "--config=yaml:exporters::file::pathh: /tmp/x"

    with pytest.raises(DockerException, match="pathh"):
        docker.container.execute(plain.container, ["otelcol-contrib", "validate", wrong])


def test_a_dead_collector_is_started_again_and_the_server_does_not_care(plain: Server) -> None:
    server = plain.process("python").pid
    collector = plain.process("otelcol-contrib")

    plain.kill(collector)

    with plain.client() as client:
        assert client.agents.list().items == []
    harness.expect(
        lambda: any(
            one.name == collector.name and one.pid != collector.pid for one in plain.processes()
        ),
        timeout=20,
        what="the collector is not started again",
    )
    assert plain.process("python").pid == server
    assert plain.inspect().state.running


def test_a_dead_postgres_ends_the_container_with_its_code(plain: Server) -> None:
    plain.kill(plain.process("postgres"))

    harness.expect(
        lambda: plain.inspect().state.status == "exited",
        timeout=60,
        what="the container goes on without its database",
    )
    assert plain.inspect().state.exit_code == 128 + 9


def test_a_network_that_swallows_packets_does_not_keep_the_server_from_starting(image: str) -> None:
    # Upstream's server downloads NLTK data at every start, without a timeout, and ignores SIGTERM meanwhile.
    with (
        harness.network(f"{harness.RUN}-silence") as network,
        harness.script(
            "silence", "silent_listener.py", image=image, arguments=["443"], networks=[network]
        ) as silence,
    ):
        networks = docker.container.inspect(silence).network_settings.networks or {}
        hosts = [("raw.githubusercontent.com", networks[network].ip_address)]
        with harness.server("trapped", image=image, networks=[network], add_hosts=hosts) as server:
            server.wait_until_healthy()
            docker.container.stop(server.container, time=30)

            state = server.inspect().state
            assert (state.status, state.exit_code) == ("exited", 0)
            assert "database system is shut down" in server.logs()
