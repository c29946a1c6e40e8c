"""A stack on one host: its containers, its volumes and the directory of its secrets."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.base.progress import Progress
from letta_stack.errors import NotRunning
from letta_stack.operate import postgres, samples, scratch, secrets_bundle
from letta_stack.operate.plan import VERSION_LABEL
from letta_stack.pins.file import Pins
from letta_stack.secrets import archive
from letta_stack.secrets.store import Store
from letta_stack.topology import lifecycle
from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from letta_stack.operate.manifest import Manifest
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.secrets_bundle import Secrets
    from letta_stack.topology.project import Project

VERSIONS = "/opt/letta/alembic/versions"


@dataclass(frozen=True)
class OneHost:
    """The containers of a project."""

    project: Project

    def postgres(self) -> Postgres:
        """Return the project's database. Raises ``NotRunning``, ``DatabaseElsewhere``."""
        return postgres.of(self.project)

    def server(self) -> str:
        """Return a container of the server, a running one if there is one. Raises ``NotRunning``."""
        states = [state for state in self.project.runner.states() if state.service == SERVER]
        if not states:
            raise NotRunning(
                f"{self.project.name} has no {SERVER}, so nobody knows its encryption key; start it with "
                f"`inv up {self.project.flags}`"
            )
        return min(states, key=lambda state: state.state != "running").container

    def secrets(self) -> Secrets:
        """Collect the secrets of the server's container, with the key of the archive, which the server has no use for."""
        secrets = secrets_bundle.collect(self.server())
        key = Store.of(self.project.name).path(archive.KEY)
        if not key.exists():
            return secrets
        path = f"run/secrets/{archive.KEY}"
        return replace(secrets, files={**secrets.files, path: b64encode(key.read_bytes()).decode()})

    def origin(self, source: Postgres) -> dict[str, Any]:
        """Collect what the manifest says about the project."""
        template = "{{.Image}} {{index .Config.Labels " + f'"{VERSION_LABEL}"' + "}}"
        inspect = ["docker", "container", "inspect", "--format", template]
        server = process.capture([*inspect, self.server()])
        server_image, _, letta = server.strip().partition(" ")
        database = process.capture([*inspect, source.container])
        database_image, _, _ = database.strip().partition(" ")
        return {
            "topology": self.project.topology.name,
            "project": self.project.name,
            "stack_version": Pins.load()["LETTA_STACK_VERSION"],
            "letta_version": letta,
            "server_image": server_image,
            "database_image": database_image,
        }

    def scratch(self, about: Manifest) -> AbstractContextManager[Postgres]:
        """Run the PostgreSQL that the backup comes from."""
        return scratch.started(about.database_image)

    def readable(self, about: Manifest, sealed: Sequence[str], key: str) -> bool:
        """Let the server that the backup comes from decrypt one of the samples."""
        return samples.readable(samples.python_of(about.server_image), sealed, key)

    def knows(self, revision: str) -> bool:
        """Look for the migration in the image of the server that runs."""
        options = ["--rm", "--network=none", "--pull=never", "--entrypoint=grep", self._image()]
        pattern = f"^revision.*['\"]{revision}['\"]"
        found = process.probe(["docker", "run", *options, "-rlE", pattern, VERSIONS])
        return bool(found.stdout.strip())

    @contextlib.contextmanager
    def stopped(self, target: Postgres) -> Iterator[None]:
        """Stop the servers for the block.

        A server that has the database in its own container goes on until the block is over, and is restarted then.
        """
        states = [state for state in self.project.runner.states() if state.service == SERVER]
        containers = [state.container for state in states]
        if target.container in containers:
            yield
            process.capture(["docker", "restart", *containers])
            return
        with Progress("waiting for running turns to end"):
            process.capture(["docker", "stop", *containers])
        try:
            yield
        finally:
            # Before the servers: a backup of an older schema is migrated where that is a service of its own.
            for name in self._one_shots():
                process.capture(["docker", "start", "--attach", name])
            process.capture(["docker", "start", *containers])

    def install_key(self, key: str) -> None:
        """Replace the encryption key on the server's volume; its next start uses it."""
        directory = f"/{secrets_bundle.KEY_FILE}"
        script = f"umask 077 && cat > {directory}.new && mv {directory}.new {directory} && rm -f {directory}.sha256"
        options = ["--rm", "--interactive", "--network=none", "--pull=never", "--user=0:0"]
        options += [f"--volumes-from={self.server()}", "--entrypoint=sh"]
        process.capture(["docker", "run", *options, self._image(), "-c", script], stdin=key + "\n")

    def wait_ready(self) -> None:
        """Wait until every container does its work."""
        lifecycle.wait_ready(self.project)

    def _image(self) -> str:
        inspect = ["docker", "container", "inspect", "--format", "{{.Image}}", self.server()]
        return process.capture(inspect).strip()

    def _one_shots(self) -> list[str]:
        """Return the containers that do their work once before the servers start."""
        names = self.project.topology.one_shots
        return [one.container for one in self.project.runner.states() if one.service in names]
