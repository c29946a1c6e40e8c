"""A PostgreSQL in a pod, asked over `kubectl exec`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import CommandFailed
from letta_stack.operate.postgres import Postgres

if TYPE_CHECKING:
    from letta_stack.topology.runners.kubernetes import Kubernetes

# The API server hands the stream on in pieces and can end it early without saying so; dd says how much there was.
COUNTED = 'set -o pipefail; "$@" | LC_ALL=C dd bs=1M iflag=fullblock'
COPIED = re.compile(r"^(\d+) bytes? ", re.MULTILINE)


@dataclass(frozen=True)
class InPod(Postgres):
    """One database of one pod; ``container`` is the pod's name."""

    cluster: Kubernetes

    def inside(self, *command: str, interactive: bool = False) -> list[str]:
        """Write the command that runs something in the pod, as its only user."""
        options = ["--stdin"] if interactive else []
        return self.cluster.argv("exec", *options, self.container, "--", *command)

    def dump(self, file: IO[bytes], *options: str) -> None:
        """Let pg_dump write to a file. Raises ``CommandFailed``, also if less came than was written."""
        inside = self.argv("pg_dump", *options)
        split = inside.index("--") + 1
        command = [*inside[:split], "bash", "-c", COUNTED, "bash", *inside[split:]]
        said = process.stream(command, stdout=file)
        written = COPIED.findall(said)
        if not written or int(written[-1]) != file.tell():
            raise CommandFailed(command, 1, f"{file.tell()} bytes came of {(written or ['?'])[-1]}")
