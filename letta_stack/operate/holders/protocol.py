"""What a backup, a restore and a deployment ask of whatever runs a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from letta_stack.operate.manifest import Manifest
    from letta_stack.operate.postgres import Postgres
    from letta_stack.operate.secrets_bundle import Secrets


class Holder(Protocol):
    """Handles data and secrets of one running stack."""

    def postgres(self) -> Postgres:
        """Return its database. Raises ``NotRunning``, ``DatabaseElsewhere``."""

    def server(self) -> str:
        """Return the container of a server, a running one if there is one. Raises ``NotRunning``."""

    def secrets(self) -> Secrets:
        """Return what the servers are given. Raises ``NotRunning``, ``CommandFailed``."""

    def origin(self, source: Postgres) -> dict[str, Any]:
        """Return what the manifest of a backup says about the stack that it comes from."""

    def scratch(self, about: Manifest) -> AbstractContextManager[Postgres]:
        """Run an empty PostgreSQL that can read a backup, for the block; nobody else reaches it."""

    def readable(self, about: Manifest, sealed: Sequence[str], key: str) -> bool:
        """Let the server's own code decrypt one of the samples."""

    def knows(self, revision: str) -> bool:
        """Say whether the server that runs has a migration to this revision of the schema."""

    def stopped(self, target: Postgres) -> AbstractContextManager[None]:
        """Let the servers end their requests and stop, and start them again, whatever happens in the block."""

    def install_key(self, key: str) -> None:
        """Replace the encryption key; the next start of a server uses it."""

    def wait_ready(self) -> None:
        """Wait until every container does its work and the API answers."""
