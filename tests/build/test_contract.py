"""What users of the official images rely on, asked of the images from Debian packages."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.wait import wait_until
from letta_stack.errors import CommandFailed
from letta_stack.image import third_party

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

START_SECONDS = 60.0


@pytest.fixture(scope="module")
def substitutes(ca: Path | None) -> Mapping[str, str]:
    pins = ["POSTGRES_IMAGE", "REDIS_IMAGE", "NGINX_IMAGE"]
    return third_party.ensure(pins, source="debian", ca=ca)


class Container:
    """A running container of the test's own."""

    def __init__(self, *arguments: str) -> None:
        self.name = f"letta-contract-{secrets.token_hex(4)}"
        process.capture(["docker", "run", "--detach", "--name", self.name, *arguments])

    def execute(self, *command: str) -> str:
        return process.capture(["docker", "exec", self.name, *command]).strip()

    def wait_for(self, *command: str) -> None:
        wait_until(
            lambda: process.probe(["docker", "exec", self.name, *command]).ok,
            timeout=START_SECONDS,
            describe=f"{command[0]} in {self.name}",
        )

    def stop(self) -> tuple[int, str]:
        """Stop by the image's own signal; return exit code and logs."""
        process.capture(["docker", "stop", "--time=30", self.name])
        code = process.capture(["docker", "inspect", "--format={{.State.ExitCode}}", self.name])
        logs = process.probe(["docker", "logs", self.name])
        return int(code), logs.stdout + logs.stderr


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Container]:
    container = Container(*arguments)
    try:
        yield container
    finally:
        process.probe(["docker", "rm", "--force", "--volumes", container.name])


def test_postgres_refuses_to_start_without_a_password(substitutes: Mapping[str, str]) -> None:
    answer = process.probe(["docker", "run", "--rm", substitutes["POSTGRES_IMAGE"]], timeout=60)

    assert answer.exit_code == 1
    assert "set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" in answer.stderr


def test_postgres_prepares_a_database_once_and_stops_cleanly(
    substitutes: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "1.sql").write_text("CREATE EXTENSION vector; CREATE TABLE seen (n int);")
    (tmp_path / "init" / "2.sh").write_text(
        'psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "INSERT INTO seen VALUES (1)"'
    )
    (tmp_path / "password").write_text("s3cret'\n")
    options = (
        "--env=POSTGRES_USER=me",
        "--env=POSTGRES_DB=mine",
        "--env=POSTGRES_PASSWORD_FILE=/run/password",
        f"--volume={tmp_path}/password:/run/password:ro",
        f"--volume={tmp_path}/init:/docker-entrypoint-initdb.d:ro",
    )
    query = ("psql", "--no-psqlrc", "-h", "127.0.0.1", "-U", "me", "-d", "mine", "-Atc")

    with running(*options, substitutes["POSTGRES_IMAGE"]) as container:
        container.wait_for("pg_isready", "-h", "127.0.0.1", "-U", "me")
        assert container.execute(*query, "SELECT '[3,4]'::vector <-> '[0,0]'") == "5"
        assert container.execute(*query, "SELECT count(*) FROM seen") == "1"
        assert container.execute(*query, "SHOW lc_collate") == "en_US.utf8"
        assert container.execute("stat", "-c", "%u %a", "/var/lib/postgresql/data") == "999 700"
        address = container.execute("hostname", "-i")
        with pytest.raises(CommandFailed, match="password authentication failed"):
            container.execute(
                "env", "PGPASSWORD=wrong", "psql", "-h", address, "-U", "me", "-d", "mine", "-c", ""
            )
        right = "PGPASSWORD=s3cret'"
        container.execute("env", right, "psql", "-h", address, "-U", "me", "-d", "mine", "-c", "")
        process.capture(["docker", "restart", container.name])
        container.wait_for("pg_isready", "-h", "127.0.0.1", "-U", "me")
        assert container.execute(*query, "SELECT count(*) FROM seen") == "1"

        code, logs = container.stop()

    assert code == 0
    assert logs.rstrip().endswith("LOG:  database system is shut down")
    assert "automatic recovery" not in logs


def test_postgres_keeps_its_locale_in_images_that_add_packages(
    substitutes: Mapping[str, str],
) -> None:
    script = "apt-get -qq update && apt-get -qq install -y locales >&2 && locale -a"
    command = ["docker", "run", "--rm", "--entrypoint=sh", substitutes["POSTGRES_IMAGE"]]

    assert "en_US.utf8" in process.capture([*command, "-c", script]).splitlines()


def test_redis_serves_its_network_without_root(substitutes: Mapping[str, str]) -> None:
    with running(substitutes["REDIS_IMAGE"], "--appendonly", "yes") as container:
        container.wait_for("redis-cli", "ping")
        address = container.execute("hostname", "-i")
        assert container.execute("redis-cli", "-h", address, "set", "a", "1") == "OK"
        assert container.execute("stat", "-c", "%u", "/proc/1", "/data/appendonlydir") == "999\n999"

        code, logs = container.stop()

    assert code == 0
    assert "Redis is now ready to exit" in logs


def test_redis_protects_itself_when_told_to(substitutes: Mapping[str, str]) -> None:
    with running(substitutes["REDIS_IMAGE"], "--protected-mode", "yes") as container:
        container.wait_for("redis-cli", "ping")
        address = container.execute("hostname", "-i")
        assert "DENIED" in container.execute("redis-cli", "-h", address, "ping")


def test_nginx_fills_in_templates_and_drains(
    substitutes: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "site.conf.template").write_text(
        'server { listen 81; location / { return 200 "$request_method ${WHO}"; } }'
    )
    volume = f"--volume={tmp_path}:/etc/nginx/templates:ro"

    with running("--env=WHO=me", volume, substitutes["NGINX_IMAGE"]) as container:
        container.wait_for("curl", "-sf", "http://127.0.0.1:81/")
        assert container.execute("curl", "-sf", "http://127.0.0.1:81/") == "GET me"
        assert (
            container.execute("curl", "-so", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1/")
            == "200"
        )

        code, logs = container.stop()

    assert code == 0
    assert '"GET / HTTP/1.1" 200' in logs
