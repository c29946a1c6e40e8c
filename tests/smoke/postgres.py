"""A PostgreSQL that is nobody's service, and the migration of a server whose database it is."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from python_on_whales import docker
from python_on_whales.exceptions import DockerException

from letta_stack.base import process
from tests.smoke import harness
from tests.support import images

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USER = NAME = "letta"


@contextlib.contextmanager
def running(
    network: str, host: str, password: str, *, command: Sequence[str] = ()
) -> Iterator[str]:
    """Start an empty PostgreSQL with pgvector; return its container once it takes connections."""
    environment = {"POSTGRES_USER": USER, "POSTGRES_DB": NAME, "POSTGRES_PASSWORD": password}
    with harness.running(
        host,
        image=images.prepare(["dev"])["POSTGRES_IMAGE"],
        command=command,
        envs=environment,
        networks=[network],
        network_aliases=[host],
    ) as container:

        def accepts_connections() -> bool:
            # Over TCP: while the entrypoint initialises, the server listens on its socket only.
            try:
                docker.container.execute(container, ["pg_isready", "-q", "-h", "127.0.0.1"])
            except DockerException:
                return False
            return True

        harness.expect(accepts_connections, timeout=60, what="PostgreSQL does not start")
        yield container


def query(database: str, sql: str, *, name: str = NAME) -> list[str]:
    """Return the rows of a query in the database of that name."""
    command = ["psql", "-U", USER, "-d", name, "-At", "-c", sql]
    return str(docker.container.execute(database, command)).splitlines()


def migrate(image: str, network: str, uri: str, number: int) -> process.Completed:
    """Run the start's migration step as its service does, in a container of its own."""
    home = "/run/home"
    settings = {"LETTA_PG_URI": uri, "LETTA_STACK_WAIT_TIMEOUT": "60", "HOME": home}
    name = f"{harness.RUN}-migrate-{number}"
    options = ["--rm", "--interactive", "--name", name, "--network", network, "--user", "letta"]
    options += ["--tmpfs", f"{home}:mode=1777", "--env", f"HOME={home}"]
    options += ["--env", "PYTHONPATH=/opt/letta-stack"]
    interpreter = ["--entrypoint", "/opt/letta/venv/bin/python"]
    step = ["-m", "entrypoint", "migrate"]
    command = ["docker", "run", *options, *interpreter, image, *step]
    return process.probe(command, stdin=json.dumps(settings))
