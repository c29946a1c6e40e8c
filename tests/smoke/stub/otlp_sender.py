"""Sends the same request of spans over and over, as fast as it is answered: `otlp_sender.py ADDRESS REQUESTS SPANS`.

Runs with the server's own Python. Prints how many requests were taken.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from typing import Any

grpc: Any = importlib.import_module("grpc")
trace: Any = importlib.import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
AT_ONCE = 4
ATTRIBUTES = {
    "http.method": "POST",
    "http.status_code": "200",
    "http.agent_id": "agent-5f0a3c1e-7a51-4e5f-9f62-0a5b6f4d9f10",
    "http.run_id": "run-5f0a3c1e-7a51-4e5f-9f62-0a5b6f4d9f10",
    "user.id": "user-00000000-0000-4000-8000-000000000000",
    "organization.id": "org-00000000-0000-4000-8000-000000000000",
    "llm_config.model": "gpt-4o-mini",
    "llm_config.context_window": "128000",
}


def request(spans: int) -> bytes:
    """Return a request as the server's SDK makes it, of spans that the collector keeps whole."""
    message = trace.ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    for key, value in {"service.name": "letta-server", "host.name": "bench"}.items():
        attribute = resource.resource.attributes.add()
        attribute.key, attribute.value.string_value = key, value
    scope = resource.scope_spans.add()
    now = time.time_ns()
    for number in range(spans):
        span = scope.spans.add()
        span.trace_id = (number // 8 + 1).to_bytes(16)
        span.span_id = (number + 1).to_bytes(8)
        span.parent_span_id = (1).to_bytes(8)
        span.name = "POST /v1/agents/{agent_id}/messages"
        span.kind = 2
        span.start_time_unix_nano, span.end_time_unix_nano = now, now + 70_000_000
        for key, value in ATTRIBUTES.items():
            attribute = span.attributes.add()
            attribute.key, attribute.value.string_value = key, value
    return bytes(message.SerializeToString())


def send(export: Any, body: bytes, count: int, taken: list[int]) -> None:
    """Send one after the other, each until it is taken."""
    for _ in range(count):
        while True:
            try:
                export(body, timeout=30)
            except grpc.RpcError:
                time.sleep(0.05)
            else:
                taken.append(1)
                break


def main() -> None:
    """Send everything."""
    address, requests, spans = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    body, taken = request(spans), []  # type: tuple[bytes, list[int]]
    with grpc.insecure_channel(address) as channel:
        export = channel.unary_unary(METHOD)
        arguments = (export, body, requests // AT_ONCE, taken)
        threads = [threading.Thread(target=send, args=arguments) for _ in range(AT_ONCE)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    print(len(taken))


if __name__ == "__main__":
    main()
