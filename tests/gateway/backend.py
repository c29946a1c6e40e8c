"""A scripted server behind the gateway: one file, standard library only, served by any image that has Python.

It speaks HTTP/1.1 by itself, so that a test sees each byte and each connection. What it does follows from the
path's first part; tests add a part of their own, so that their counts do not mix:

- `/echo` answers with what arrived: method, path, headers as they were spelled, and the body's length and digest;
- `/events?count=N&pause=S` streams N server-sent events, S seconds before each but the first;
- `/silent?seconds=S` says nothing for S seconds, then answers;
- `/break` takes the whole request and closes the connection without an answer;
- `/busy` answers 503 in the server's own words; `/slash` redirects as FastAPI does; `/elsewhere` redirects to another site;
- `/socket` accepts a WebSocket and returns each short text message;
- `/counts` answers how often each path was asked for, itself not counted.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PORT = 8283
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Headers = list[tuple[str, str]]
counts: collections.Counter[str] = collections.Counter()


class Request:
    """One request and the connection that it came on."""

    def __init__(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take the head apart; the body is still to be read."""
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.method, self.target, _ = first.split(" ", 2)
        pairs = [line.partition(":") for line in lines]
        self.headers: Headers = [(name, value.strip()) for name, _, value in pairs]
        self.lower = {name.lower(): value for name, value in self.headers}
        self.path = urlsplit(self.target).path
        self.query = {key: one[0] for key, one in parse_qs(urlsplit(self.target).query).items()}
        self.reader, self.writer = reader, writer

    async def body(self) -> tuple[int, str]:
        """Read the body to its end; return its length and SHA-256."""
        length, digest = 0, hashlib.sha256()
        remaining = int(self.lower.get("content-length", "0"))
        chunked = "transfer-encoding" in self.lower
        while chunked or remaining:
            if chunked and not remaining:
                remaining = int((await self.reader.readline()).strip(), 16)
                if not remaining:
                    await self.reader.readline()
                    break
            part = await self.reader.read(min(remaining, 1 << 16))
            if not part:
                raise ConnectionError("the body ended early")
            digest.update(part)
            length += len(part)
            remaining -= len(part)
            if chunked and not remaining:
                await self.reader.readline()
        return length, digest.hexdigest()

    async def answer(self, status: int, body: object, headers: Iterable[str] = ()) -> None:
        """Send a whole JSON answer."""
        payload = json.dumps(body).encode()
        head = [f"HTTP/1.1 {status} Scripted", "Content-Type: application/json", *headers]
        head += [f"Content-Length: {len(payload)}", f"X-Replica: {socket.gethostname()}"]
        self.writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + payload)
        await self.writer.drain()


async def events(request: Request) -> None:
    await request.body()
    request.writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for number in range(int(request.query["count"])):
        if number:
            await asyncio.sleep(float(request.query["pause"]))
        event = f"data: {number}\n\n".encode()
        request.writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await request.writer.drain()
    request.writer.write(b"0\r\n\r\n")


async def web_socket(request: Request) -> None:
    """Answer the handshake, then send each masked text message of up to 125 bytes back, until the client closes."""
    key = request.lower["sec-websocket-key"].encode()
    accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()).decode()
    request.writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    while True:
        _, length = await request.reader.readexactly(2)
        mask = await request.reader.readexactly(4)
        masked = await request.reader.readexactly(length & 0x7F)
        text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))
        request.writer.write(bytes([0x81, len(text)]) + text)
        await request.writer.drain()


async def respond(request: Request) -> bool:
    """Answer one request; return whether the connection can take another one."""
    path = "/" + request.path.split("/")[1]
    if path == "/counts":
        await request.answer(200, counts)
        return True
    counts[request.path] += 1
    if path == "/socket":
        await web_socket(request)
        return False
    if path == "/events":
        await events(request)
        return True
    length, digest = await request.body()
    if path == "/break":
        return False
    if path == "/silent":
        await asyncio.sleep(float(request.query["seconds"]))
        await request.answer(200, {"silent": True})
    elif path == "/busy":
        await request.answer(503, {"detail": "in the server's own words"}, ["Retry-After: 7"])
    elif path == "/slash":
        place = f"http://{request.lower['host']}/slash/"
        await request.answer(307, None, [f"Location: {place}"])
    elif path == "/elsewhere":
        await request.answer(302, None, ["Location: https://accounts.example.org/login"])
    else:
        seen = {"method": request.method, "path": request.target, "headers": request.headers}
        await request.answer(200, {**seen, "length": length, "sha256": digest})
    return True


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while await respond(Request(await reader.readuntil(b"\r\n\r\n"), reader, writer)):
            pass
    writer.close()


async def main() -> None:
    """Serve until killed, on each of the ports that are given."""
    for port in [int(one) for one in sys.argv[1:]] or [DEFAULT_PORT]:
        await asyncio.start_server(serve, "0.0.0.0", port, backlog=2048)
    await asyncio.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(main())
