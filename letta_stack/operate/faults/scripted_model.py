"""A language model that follows a script: runs in a container beside the stack. Standard library only.

It answers with the message of the user, word by word. The file MODE says how it misbehaves: `hang`, `limit` (429),
`break` (ends the connection in the middle), `fail` (500); empty or absent: not at all.
"""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAME = "scripted"
PORT = 9911
MODE = Path("/tmp/mode")  # noqa: S108 - in a container of its own
WORD_SECONDS = 0.15
HANG_SECONDS = 3600.0
CONTEXT_TOKENS = 128_000


def mode() -> str:
    """Return how it misbehaves now."""
    return MODE.read_text(encoding="ascii").strip() if MODE.exists() else ""


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a chat message, whose content may be a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def reply_to(request: dict[str, Any]) -> str:
    """Repeat the last message of the user."""
    said = [text_of(one) for one in request["messages"] if one["role"] == "user"]
    return f"heard {said[-1] if said else ''}"


def usage(request: dict[str, Any], reply: str) -> dict[str, int]:
    """Count a token for each word."""
    prompt = sum(len(text_of(one).split()) for one in request["messages"])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": len(reply.split()),
        "total_tokens": prompt + len(reply.split()),
    }


class Handler(BaseHTTPRequestHandler):
    """The part of OpenAI's API that the server uses."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """List the one model."""
        model = {"id": NAME, "object": "model", "owned_by": NAME, "max_model_len": CONTEXT_TOKENS}
        self._answer({"object": "list", "data": [model]})

    def do_POST(self) -> None:
        """Answer, or misbehave."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match mode():
            case "hang":
                time.sleep(HANG_SECONDS)
            case "limit":
                error = {
                    "message": "Rate limit reached",
                    "type": "requests",
                    "code": "rate_limit_exceeded",
                }
                self._answer({"error": error}, status=429)
            case "fail":
                self._answer({"error": {"message": "The server had an error"}}, status=500)
            case how:
                self._complete(request, broken=how == "break")

    def _complete(self, request: dict[str, Any], *, broken: bool) -> None:
        reply = reply_to(request)
        envelope = {"id": f"chatcmpl-{time.time_ns()}", "created": int(time.time()), "model": NAME}
        if request.get("stream"):
            self._stream(
                request, envelope | {"object": "chat.completion.chunk"}, reply, broken=broken
            )
            return
        message = {"role": "assistant", "content": reply}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = envelope | {
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage(request, reply),
        }
        if broken:
            self._break_off(json.dumps(body).encode())
        else:
            self._answer(body)

    def _stream(
        self, request: dict[str, Any], envelope: dict[str, Any], reply: str, *, broken: bool
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        words = [f"{word} " for word in reply.split()]
        for word in words[: len(words) // 2] if broken else words:
            time.sleep(WORD_SECONDS)
            choice = {
                "index": 0,
                "delta": {"role": "assistant", "content": word},
                "finish_reason": None,
            }
            self._event(envelope | {"choices": [choice]})
        if broken:
            self.close_connection = True  # without the chunk that ends the body
            return
        self._event(envelope | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._event(envelope | {"choices": [], "usage": usage(request, reply)})
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, body: object) -> None:
        self._chunk(f"data: {json.dumps(body)}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _break_off(self, payload: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload[: len(payload) // 2])
        self.close_connection = True

    def _answer(self, body: object, *, status: int = 200) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


class Server(ThreadingHTTPServer):
    """One thread a request."""

    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("", PORT), Handler).serve_forever()
