"""A backend that takes OTLP over gRPC and wants an ingestion key, as SigNoz does. Runs with the server's own Python.

`GET /` on port 9912 answers with all that arrived, as OTLP's JSON, one object per request.
"""

from __future__ import annotations

import importlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

grpc: Any = importlib.import_module("grpc")
to_dict: Any = importlib.import_module("google.protobuf.json_format").MessageToDict
KEY = os.environ["INGESTION_KEY"]
received: list[dict[str, Any]] = []


def exporter(response: Any) -> Any:
    """Return the one method of a service."""

    def export(_self: Any, request: Any, context: Any) -> Any:
        if dict(context.invocation_metadata()).get("signoz-ingestion-key") != KEY:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such ingestion key")
        received.append(to_dict(request))
        return response()

    return export


class Handler(BaseHTTPRequestHandler):
    """Shows what arrived."""

    def do_GET(self) -> None:
        """Answer with everything."""
        body = json.dumps(received).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve both ports."""
    server = grpc.server(ThreadPoolExecutor(4))
    for name in ("Trace", "Metrics", "Logs"):
        package = f"opentelemetry.proto.collector.{name.lower()}.v1.{name.lower()}_service_pb2"
        module = importlib.import_module(f"{package}_grpc")
        response = getattr(importlib.import_module(package), f"Export{name}ServiceResponse")
        servicer = type(
            name, (getattr(module, f"{name}ServiceServicer"),), {"Export": exporter(response)}
        )
        getattr(module, f"add_{name}ServiceServicer_to_server")(servicer(), server)
    server.add_insecure_port("0.0.0.0:4317")
    server.start()
    ThreadingHTTPServer(("", 9912), Handler).serve_forever()


if __name__ == "__main__":
    main()
