"""A light stand-in for a server, which runs in the server's image: its pool of connections, its two ports, one transaction a request.

python standin.py        with STANDIN_URI and STANDIN_POOL in the environment
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import socket
from typing import Any

PORTS = (8283, 8284)
NAME = socket.gethostname()
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# What a read of the server's is made of: whose, what, its messages; and one row that changes.
STATEMENTS = (
    "SELECT count(*) FROM replicas",
    "SELECT answered FROM replicas WHERE name = $1",
    "INSERT INTO replicas VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET answered = replicas.answered + 1",
)


async def main() -> None:
    """Open the pool, then serve until killed."""
    asyncpg: Any = importlib.import_module("asyncpg")

    # The server's pool does nothing when a connection comes back.
    connection_class = type(
        "Connection", (asyncpg.Connection,), {"__slots__": (), "get_reset_query": lambda _: ""}
    )
    size = int(os.environ["STANDIN_POOL"])
    pool = await asyncpg.create_pool(
        os.environ["STANDIN_URI"],
        min_size=size,
        max_size=size,
        statement_cache_size=0,
        connection_class=connection_class,
        timeout=120,
        max_inactive_connection_lifetime=0,
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                # Who answers before it has read all of a request ends the client's connection.
                length = LENGTH.search(head)
                await reader.readexactly(int(length[1]) if length else 0)
                await transaction(pool)
                answer = f"HTTP/1.1 200 OK\r\nX-Replica: {NAME}\r\nContent-Length: 2\r\n\r\nok"
                writer.write(answer.encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    for port in PORTS:
        await asyncio.start_server(serve, "0.0.0.0", port, backlog=2048)  # noqa: S104 - in a container
    print("serving", flush=True)
    await asyncio.Event().wait()


async def transaction(pool: Any) -> None:
    """Do what one request does."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetchval(STATEMENTS[0])
        await connection.fetchval(STATEMENTS[1], NAME)
        await connection.execute(STATEMENTS[2], NAME)


if __name__ == "__main__":
    asyncio.run(main())
