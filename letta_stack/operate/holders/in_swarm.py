"""A stack on a swarm: its tasks, wherever docker knows their engine."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.errors import BackupForeign
from letta_stack.operate import samples, scratch, secrets_bundle
from letta_stack.operate.holders.one_host import VERSIONS
from letta_stack.operate.plan import VERSION_LABEL
from letta_stack.operate.postgres import LOGIN, OWNER, Elsewhere
from letta_stack.pins.file import Pins
from letta_stack.topology import swarm_lifecycle
from letta_stack.topology.catalogue import DATABASE, MIGRATION, SERVER
from letta_stack.topology.runners.swarm import Swarm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from letta_stack.operate.manifest import Manifest
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.secrets_bundle import Secrets
    from letta_stack.topology.clustered import Clustered
    from letta_stack.topology.runners.swarm import Task

STOP_SECONDS = 900.0  # longer than any task may take to stop
LOOK = "{{.Config.Image}} {{index .Config.Labels " + f'"{VERSION_LABEL}"' + "}}"


@dataclass(frozen=True)
class InSwarm:
    """The tasks of a stack."""

    cluster: Clustered

    @property
    def mine(self) -> Swarm:
        """What handles the services."""
        return Swarm(self.cluster.name)

    def postgres(self) -> Postgres:
        """Return the database of the stack. Raises ``NotRunning``, ``HostUnreachable``."""
        task = self.mine.task(DATABASE.name)
        user, name = process.capture(task.exec("sh", "-c", LOGIN)).split()
        found = Elsewhere(task.container, user, name, user, task.docker)
        return replace(found, owner=found.value(OWNER))

    def server(self) -> str:
        """Return the container of a server that runs. Raises ``NotRunning``, ``HostUnreachable``."""
        return self.mine.task(SERVER).container

    def secrets(self) -> Secrets:
        """Read the secrets where a server does: the swarm gives them to nobody else. Raises what ``server`` raises."""
        task = self.mine.task(SERVER)
        facts = json.loads(process.capture(inspect(task)))
        files = secrets_bundle.archived(task.exec("sh", "-c", secrets_bundle.COLLECT))
        return secrets_bundle.of(facts["Config"]["Env"], files)

    def origin(self, source: Postgres) -> dict[str, Any]:  # noqa: ARG002 - found by its service
        """Collect what the manifest says about the stack."""
        server = process.capture(inspect(self.mine.task(SERVER), LOOK)).strip()
        server_image, _, letta = server.partition(" ")
        database = process.capture(inspect(self.mine.task(DATABASE.name), LOOK)).strip()
        database_image, _, _ = database.partition(" ")
        return {
            "topology": self.cluster.topology.name,
            "project": self.cluster.name,
            "stack_version": Pins.load()["LETTA_STACK_VERSION"],
            "letta_version": letta,
            "server_image": server_image,
            "database_image": database_image,
        }

    def scratch(self, about: Manifest) -> AbstractContextManager[Postgres]:
        """Run the PostgreSQL that the backup comes from, where the present one runs: that host has the image."""
        return scratch.started(about.database_image, self.mine.task(DATABASE.name).docker)

    def readable(self, about: Manifest, sealed: Sequence[str], key: str) -> bool:  # noqa: ARG002 - of a server that runs
        """Let a server that runs decrypt one of the samples."""
        python = self.mine.task(SERVER).exec(samples.PYTHON, options=["--interactive"])
        return samples.readable(python, sealed, key)

    def knows(self, revision: str) -> bool:
        """Look for the migration in a server that runs."""
        pattern = f"^revision.*['\"]{revision}['\"]"
        command = self.mine.task(SERVER).exec("grep", "-rlE", pattern, VERSIONS)
        return bool(process.probe(command).stdout.strip())

    @contextlib.contextmanager
    def stopped(self, target: Postgres) -> Iterator[None]:  # noqa: ARG002 - it is a task of its own
        """Scale the servers to none for the block, and let the migration run before they come back."""
        count = self.mine.wanted(0)[SERVER]
        self.stop()
        try:
            yield
        finally:
            # A backup of an older schema is migrated by a job of its own.
            self.mine.restart(MIGRATION.name)
            self.mine.scale(SERVER, count)

    def stop(self) -> None:
        """Scale the servers to none, and wait until they have ended their requests and are gone."""
        mine = self.mine
        with Progress("waiting for running turns to end"):
            mine.scale(SERVER, 0)
            wait_until(
                lambda: not mine.alive(SERVER),
                timeout=STOP_SECONDS,
                interval=0.5,
                describe=lambda: f"servers still run: {mine.alive(SERVER)}",
            )

    def install_key(self, key: str) -> None:
        """Raise ``BackupForeign``: a secret of a swarm is given to what is deployed, not changed."""
        raise BackupForeign(
            f"the servers of {self.cluster.name} take their encryption key ({len(key)} characters in the backup) from a secret; "
            f"put it into .secrets/{self.cluster.name}/encryption-key, `inv up {self.cluster.flags}`, and try again"
        )

    def wait_ready(self) -> None:
        """Wait until every task does its work and the API answers."""
        swarm_lifecycle.wait_ready(self.cluster)


def inspect(task: Task, look: str = "{{json .}}") -> list[str]:
    """Write the command that says what a task's engine knows of its container."""
    return [*task.docker, "container", "inspect", f"--format={look}", task.container]
