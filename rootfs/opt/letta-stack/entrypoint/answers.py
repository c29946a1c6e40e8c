"""How an answer leaves the server: patches like those in patches.py, for uvicorn."""

from __future__ import annotations

import functools
from typing import Any

_LENGTH = b"content-length"


class Joined:
    """A connection that sends the head of an answer together with what comes next."""

    def __init__(self, transport: Any) -> None:
        """Stand before a connection of asyncio's."""
        self._transport = transport
        self._head: bytes | None = None
        self.holds = False

    def __getattr__(self, name: str) -> Any:
        """Leave everything else to the connection."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, or keep what comes first while ``holds`` is true."""
        if self.holds:
            self.holds, self._head = False, data
            return
        head, self._head = self._head, None
        self._transport.write(head + data if head else data)

    def close(self) -> None:
        """Send what is kept and end the connection."""
        if self._head:
            self.write(b"")
        self._transport.close()


def send_an_answer_in_one_piece(module: Any) -> None:
    """Send head and body of an answer of known length at once.

    uvicorn/protocols/http/h11_impl.py, RequestResponseCycle: sends two packets, each on its way through the kernel and nginx.
    Without a length it is a stream, whose head clients wait for.
    """
    cycle = module.RequestResponseCycle
    initialise, send = cycle.__init__, cycle.send

    @functools.wraps(initialise)
    def initialise_joined(self: Any, *args: Any, **options: Any) -> None:
        initialise(self, *args, **options)
        self.transport = Joined(self.transport)

    @functools.wraps(send)
    async def send_joined(self: Any, message: Any) -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            names = (bytes(name).lower() for name, _ in message.get("headers", ()))
            self.transport.holds = _LENGTH in names
        await send(self, message)

    cycle.__init__, cycle.send = initialise_joined, send_joined


def keep_a_connection_whose_answer_is_whole(module: Any) -> None:
    """Leave a connection open when an application raises an error after it has answered.

    uvicorn/protocols/http/h11_impl.py, RequestResponseCycle.run_asgi: closes it, and starlette raises every error again that
    a handler has answered. nginx may have sent the next request by then; it is reset, and nginx takes the replica for dead.
    """
    cycle = module.RequestResponseCycle
    run = cycle.run_asgi

    @functools.wraps(run)
    async def run_answered(self: Any, app: Any) -> None:
        async def answered(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            except Exception:
                if not self.response_complete:
                    raise
                self.logger.exception("Exception in ASGI application\n")

        await run(self, answered)

    cycle.run_asgi = run_answered
