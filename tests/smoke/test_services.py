"""PostgreSQL and Redis for what runs on the host: its own shell, and the tests that Letta ships with its source."""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from python_on_whales import docker

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from tests.smoke import harness
from tests.smoke.conftest import arguments_of, inv

if TYPE_CHECKING:
    from pathlib import Path

    from letta_stack.topology.project import Project

pytestmark = pytest.mark.only("services")

SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
# Those that need a database, and neither a model provider nor minutes.
LETTAS_TESTS = (
    "tests/managers/test_organization_manager.py",
    "tests/managers/test_user_manager.py",
)
MIGRATE_AND_TEST = 'cd /letta && "$0" -m alembic upgrade head && exec "$0" -c "$@"'
# The image has no pytest. The one of this session comes last on the path: Letta's own packages win.
RUN_PYTEST = """
import sys
sys.path.append("/pytest")
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def exported(stack: Project) -> dict[str, str]:
    """Return the variables of a POSIX shell that has evaluated what `inv env` prints."""
    task = f"'{sys.executable}' -m invoke env {' '.join(arguments_of(stack))}"
    script = f'eval "$({task})" && env'
    shell = process.capture(["sh", "-c", script], cwd=ROOT)
    variables = dict(line.split("=", 1) for line in shell.splitlines() if "=" in line)
    return {
        name: variables[name]
        for name in variables
        if name.startswith(("LETTA_PG_", "LETTA_REDIS_"))
    }


def said(host: str, port: int, request: bytes) -> bytes:
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(request)
        return connection.recv(64)


def test_a_shell_finds_both_services(data_services: Project) -> None:
    variables = exported(data_services)
    database = urlsplit(variables["LETTA_PG_URI"])

    assert database.hostname == "127.0.0.1"
    assert database.port
    assert said(database.hostname, database.port, SSL_REQUEST) == b"N"
    redis = variables["LETTA_REDIS_HOST"], int(variables["LETTA_REDIS_PORT"])
    assert said(*redis, b"PING\r\n") == b"+PONG\r\n"


@pytest.mark.timeout(600)  # two imports of the server: 20 s on an idle machine
def test_lettas_own_tests_pass_against_them(data_services: Project, tmp_path: Path) -> None:
    source = harness.letta_source(tmp_path / "letta")
    python = "/opt/letta/venv/bin/python"
    # Its own filter names a warning that pytest no longer has.
    options = [
        *("-q", "-p", "no:cacheprovider"),
        "--config-file=tests/pytest.ini",
        "-o=filterwarnings=",
        "--rootdir=/letta",
    ]
    name = f"{harness.RUN}-letta-tests"
    try:
        docker.run(
            harness.IMAGE,
            ["-c", MIGRATE_AND_TEST, python, RUN_PYTEST, *options, *LETTAS_TESTS],
            entrypoint="/bin/sh",
            name=name,
            healthcheck=False,
            user=f"{os.getuid()}:{os.getgid()}",
            # A program of this machine, as far as the services can tell. Letta asks a provider that is retired: refused at once.
            networks=["host"],
            add_hosts=[("inference.letta.com", "127.0.0.1")],
            volumes=[
                # Not the server's modules: those of the image have their bytecode.
                *(
                    (source / name, f"/letta/{name}", "ro")
                    for name in ("alembic", "alembic.ini", "tests")
                ),
                (sysconfig.get_path("purelib"), "/pytest", "ro"),
            ],
            envs={**exported(data_services), "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"},
            pull="never",
        )
    finally:
        # Also after an interrupt, which ends the client and not the container.
        docker.container.remove(name, force=True, volumes=True)


@pytest.mark.last
def test_what_is_down_exports_nothing(data_services: Project) -> None:
    inv("down", *arguments_of(data_services))

    answer = process.probe(
        [sys.executable, "-m", "invoke", "env", *arguments_of(data_services)], cwd=ROOT
    )

    assert (answer.exit_code, answer.stdout) == (41, "")
    assert "inv up --env services" in answer.stderr
