"""Slack, Teams, PagerDuty and a mail relay for the tests: takes notifications of alerts.

`GET /` on port 9912 answers with all that arrived: which receiver, and what it was sent. Mail comes to port 9925.
"""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HTTP_PORT, SMTP_PORT = 9912, 9925
received: list[dict[str, Any]] = []


class Web(BaseHTTPRequestHandler):
    """The three with an address of the web, by the path."""

    def do_GET(self) -> None:
        """Show what arrived."""
        self.answer(200, json.dumps(received).encode())

    def do_POST(self) -> None:
        """Take a notification; the status is the one of the real service."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        received.append({"receiver": self.path, "body": body})
        if self.path == "/v2/enqueue":
            self.answer(202, b'{"status":"success","dedup_key":"x"}')
        else:
            self.answer(200, b"ok")

    def answer(self, status: int, body: bytes) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing about each request."""


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as it takes to receive a message."""

    def handle(self) -> None:
        """Speak with one client."""
        envelope: dict[str, Any] = {}
        self.say("220 receiver")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper().partition(":")[0]
            if verb == "MAIL":
                envelope["from"] = line
            elif verb == "RCPT":
                envelope["to"] = line
            elif verb == "DATA":
                self.say("354 go on")
                text = b""
                while (part := self.rfile.readline()) not in (b".\r\n", b""):
                    text += part
                received.append({"receiver": "mail", "body": envelope | {"text": text.decode()}})
            self.say("221 bye" if verb == "QUIT" else "250 receiver")
            if verb == "QUIT":
                break

    def say(self, text: str) -> None:
        """Send a line."""
        self.wfile.write(f"{text}\r\n".encode())


if __name__ == "__main__":
    mail = socketserver.ThreadingTCPServer(("", SMTP_PORT), Mail)
    threading.Thread(target=mail.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("", HTTP_PORT), Web).serve_forever()
