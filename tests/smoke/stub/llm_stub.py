"""A scripted OpenAI-compatible provider: the language model of the smoke tests.

Standard library only and one file, so that any image with a Python interpreter can serve it. Every answer follows from
the request alone:

- the last user message `TOOL name {"json": "arguments"}` is answered with that tool call, and the tool's result with
  `DONE:` and the result as the model saw it;
- any other user message is echoed as `STUB:message`;
- a stream sends one word per chunk with a real pause before each, so that a proxy that buffers is visible on a clock;
- an embedding is a hashed bag of words: texts that share words are near each other;
- `GET /_requests` lists what was asked so far, headers that matter included.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Names that Letta treats as plain chat models: o1, o3, o4 and gpt-5 would switch it to the Responses API.
CHAT_MODEL = "gpt-4o-mini"
EMBEDDING_DIMENSIONS = {"text-embedding-3-large": 3072}
DEFAULT_DIMENSIONS = 1536
DEFAULT_PORT = 9911

_TOOL_REQUEST = re.compile(
    r"\ATOOL\s+(?P<name>[A-Za-z_]\w*)\s+(?P<arguments>\{.*\})\s*\Z", re.DOTALL
)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Reply:
    """What the model answers: a text, or the call of one tool with arguments as JSON text."""

    text: str = ""
    tool: str | None = None
    arguments: str = "{}"

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.tool else "stop"


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a chat message, whose content may be a string or a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")


def reply_to(messages: Sequence[dict[str, Any]]) -> Reply:
    """Return the scripted answer to a conversation: only its last user or tool message counts."""
    for message in reversed(messages):
        if message["role"] == "tool":
            return Reply(text=f"DONE:{text_of(message)}")
        if message["role"] == "user":
            text = text_of(message)
            if match := _TOOL_REQUEST.match(text):
                return Reply(tool=match["name"], arguments=match["arguments"])
            return Reply(text=f"STUB:{text}")
    return Reply(text="STUB:")


def usage_of(messages: Sequence[dict[str, Any]], reply: Reply) -> dict[str, int]:
    """Return token counts that depend on the conversation, counting one token per word."""
    prompt = sum(len(_WORD.findall(text_of(message))) for message in messages)
    completion = len(_WORD.findall(reply.text or reply.arguments))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _envelope(request: dict[str, Any], kind: str) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:24]
    return {
        "id": f"chatcmpl-{digest}",
        "object": kind,
        "created": int(time.time()),
        "model": request.get("model", CHAT_MODEL),
    }


def _tool_call(envelope: dict[str, Any], reply: Reply) -> dict[str, Any]:
    identity = f"call_{envelope['id'].removeprefix('chatcmpl-')}"
    function = {"name": reply.tool, "arguments": reply.arguments}
    return {"id": identity, "type": "function", "function": function}


def completion(request: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a `/v1/chat/completions` answer that is not streamed."""
    reply = reply_to(request["messages"])
    envelope = _envelope(request, "chat.completion")
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.tool:
        message["tool_calls"] = [_tool_call(envelope, reply)]
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    return {**envelope, "choices": [choice], "usage": usage_of(request["messages"], reply)}


def completion_chunks(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the bodies of the server-sent events of a streamed answer, one word at a time.

    The usage chunk comes last and only if `stream_options.include_usage` asks for it, as OpenAI does.
    """
    reply = reply_to(request["messages"])
    envelope = _envelope(request, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {
            **envelope,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        }

    yield chunk({"role": "assistant", "content": ""})
    if reply.tool:
        yield chunk({"tool_calls": [{"index": 0, **_tool_call(envelope, reply)}]})
    for word in re.findall(r"\s*\S+", reply.text):
        yield chunk({"content": word})
    yield chunk({}, reply.finish_reason)
    if (request.get("stream_options") or {}).get("include_usage"):
        yield {**envelope, "choices": [], "usage": usage_of(request["messages"], reply)}


def embed(text: str, dimensions: int) -> list[float]:
    """Return a unit vector in which every distinct word of `text` owns one hashed coordinate."""
    vector = [0.0] * dimensions
    for word in set(_WORD.findall(text.lower())):
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") % dimensions] += (
            1.0
        )
    if not any(vector):
        vector[0] = 1.0  # cosine distance is undefined for a zero vector
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector]


def embeddings(request: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a `/v1/embeddings` answer, as numbers or as base64 of little-endian float32."""
    model = request["model"]
    texts = [request["input"]] if isinstance(request["input"], str) else request["input"]
    dimensions = request.get("dimensions") or EMBEDDING_DIMENSIONS.get(model, DEFAULT_DIMENSIONS)
    as_base64 = request.get("encoding_format") == "base64"

    data = []
    for index, text in enumerate(texts):
        vector = embed(text, dimensions)
        packed = (
            base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
            if as_base64
            else vector
        )
        data.append({"object": "embedding", "index": index, "embedding": packed})
    words = sum(len(_WORD.findall(text)) for text in texts)
    usage = {"prompt_tokens": words, "total_tokens": words}
    return {"object": "list", "model": model, "data": data, "usage": usage}


@dataclass
class RequestLog:
    """The requests seen so far; handler threads append while a test reads."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: dict[str, Any]) -> None:
        with self.lock:
            self.entries.append(entry)

    def snapshot(self) -> list[dict[str, Any]]:
        with self.lock:
            return list(self.entries)


class StubServer(ThreadingHTTPServer):
    """The HTTP server with what its handlers share."""

    daemon_threads = True
    # Hundreds of streams begin at the same moment.
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], *, chunk_delay: float) -> None:
        """Listen on `address`; streams pause `chunk_delay` seconds before each chunk."""
        self.chunk_delay = chunk_delay
        self.log = RequestLog()
        super().__init__(address, StubHandler)


class StubHandler(BaseHTTPRequestHandler):
    """Route a request to the pure functions above."""

    server: StubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/_requests":
            self._answer(self.server.log.snapshot())
            return
        self._record(None)
        if self.path == "/v1/models":
            self._answer(
                {
                    "object": "list",
                    "data": [{"id": CHAT_MODEL, "object": "model", "owned_by": "stub"}],
                }
            )
        else:
            self._answer({"error": {"message": f"no route GET {self.path}"}}, status=404)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        self._record(request)
        if self.path == "/v1/chat/completions" and request.get("stream"):
            self._stream(completion_chunks(request))
        elif self.path == "/v1/chat/completions":
            self._answer(completion(request))
        elif self.path == "/v1/embeddings":
            self._answer(embeddings(request))
        else:
            self._answer({"error": {"message": f"no route POST {self.path}"}}, status=404)

    def _record(self, body: dict[str, Any] | None) -> None:
        authorization = self.headers.get("Authorization", "")
        entry = {
            "method": self.command,
            "path": self.path,
            "authorization": authorization,
            "body": body,
        }
        self.server.log.add(entry)

    def _answer(self, body: object, *, status: int = 200) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _stream(self, chunks: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header(
            "Connection", "close"
        )  # the end of the stream is the end of the connection
        self.end_headers()
        for chunk in chunks:
            time.sleep(self.server.chunk_delay)
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--chunk-delay", type=float, default=0.25, metavar="SECONDS")
    options = parser.parse_args()
    StubServer((options.host, options.port), chunk_delay=options.chunk_delay).serve_forever()


if __name__ == "__main__":
    main()
