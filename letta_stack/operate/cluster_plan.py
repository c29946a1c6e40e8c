"""What a deployment on Kubernetes would do to the schema: asked in the cluster, whose images this machine need not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.errors import CommandFailed, DeployRefused, NotRunning
from letta_stack.operate import plan, samples
from letta_stack.operate.holders import tool_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.operate.holders.namespaced import Namespaced
    from letta_stack.operate.plan import Migration
    from letta_stack.topology.runners.kubernetes import Kubernetes

# The server's own driver and its own secret: wherever the database is, a server reaches it.
REVISION = """
import asyncio, asyncpg, os, pathlib
async def revision():
    uri = pathlib.Path(os.environ["LETTA_PG_URI_FILE"]).read_text().strip()
    connection = await asyncpg.connect(uri, timeout=10)
    if await connection.fetchval("SELECT to_regclass('public.alembic_version') IS NOT NULL"):
        print(await connection.fetchval("SELECT version_num FROM public.alembic_version"))
asyncio.run(revision())
"""


def migration(holder: Namespaced, present: Mapping[str, Any], image: str) -> Migration | None:
    """Find what is between the schema and an image; None if no server is ready, so that nobody can be asked.

    Raises ``DeployRefused`` if the image does not know the schema or is none of letta-stack, ``NodesCannotPull``.
    """
    try:
        server = holder.server()
    except NotRunning:
        return None
    present_schema = revision(holder.mine, server)
    with tool_pod.started(holder.mine, present, image=image) as pod:
        try:
            rows = plan.read(holder.mine.argv("exec", pod, "--", plan.PYTHON))
        except CommandFailed as error:
            raise DeployRefused(
                f"{image} has no migrations of Letta ({error.last_line}), so it is no image of letta-stack; make one: `inv build`"
            ) from error
    return plan.migration(present_schema, rows)


def revision(mine: Kubernetes, server: str) -> str:
    """Let a server ask its database for the revision of the schema, "" if there is none yet. Raises ``CommandFailed``."""
    asked = mine.argv("exec", server, "--", samples.PYTHON, "-c", REVISION)
    return process.capture(asked).strip()
