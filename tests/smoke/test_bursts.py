"""Many streams at once: each is whole, or the bound of the connections to PostgreSQL is wrong."""

from __future__ import annotations

import asyncio
import collections
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.smoke import harness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_client import Letta

    from tests.smoke.conftest import Deployment

AGENTS = 40
"""Made at the same moment: more than the server has connections, each within a session that opens another one."""
STREAMS = 120
"""Above the 100 connections that PostgreSQL has by default."""
MANY_STREAMS = 500
ENOUGH_SECONDS = 600


async def outcome(url: str, password: str, agent: str) -> str:
    """Stream one turn; return how it ended."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 20)
    body = json.dumps({"input": "one two", "streaming": True, "stream_tokens": True}).encode()
    head = (
        f"POST /v1/agents/{agent}/messages/stream HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {password}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = (await reader.read()).decode()
    writer.close()
    status = answer.partition("\r\n")[0].split(" ")[1:2]
    if status != ["200"]:
        return f"refused: {answer[-300:]}"
    if '"error_message"' in answer or '"error"' in answer:
        return f"failed: {answer[-300:]}"
    return "whole" if "data: [DONE]" in answer and "end_turn" in answer else f"cut: {answer[-100:]}"


async def burst(deployment: Deployment, agents: Sequence[str], streams: int) -> dict[str, int]:
    """Start all streams at the same moment; count how they ended."""
    password = deployment.password
    outcomes = await asyncio.gather(
        *(
            outcome(deployment.url, password, agents[number % len(agents)])
            for number in range(streams)
        )
    )
    return dict(collections.Counter(outcomes))


@pytest.mark.timeout(ENOUGH_SECONDS, func_only=True)
@pytest.mark.parametrize(
    "streams",
    [
        # The processor time of a hundred turns; one topology is enough between changes.
        pytest.param(STREAMS, marks=pytest.mark.only("dev")),
        pytest.param(MANY_STREAMS, marks=pytest.mark.long),
    ],
)
def test_all_of_many_streams_are_whole(deployment: Deployment, client: Letta, streams: int) -> None:
    def create(_: int) -> str:
        return client.agents.create(model=harness.MODEL, include_base_tools=False).id

    with ThreadPoolExecutor(AGENTS) as pool:
        agents = list(pool.map(create, range(AGENTS)))

    assert asyncio.run(burst(deployment, agents, streams)) == {"whole": streams}
