"""The replicas, and what the gateway makes of them."""

from __future__ import annotations

import contextlib
import http.client
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.scale.stage import PASSWORD
from letta_stack.base import process
from letta_stack.topology.catalogue import SERVER
from tests.smoke import harness, pooling
from tests.support import processor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.driver import Gateway

POOL = 20  # LETTA_PG_POOL_SIZE
CLIENTS = 16
FILE = Path(__file__).with_name("standin.py")


@contextlib.contextmanager
def standin(network: str, number: int) -> Iterator[str]:
    """Run one more replica."""
    with harness.running(
        f"standin-{number}",
        command=["/standin.py"],
        entrypoint="/opt/letta/venv/bin/python",
        user="65534:65534",
        healthcheck=False,
        networks=[network],
        network_aliases=[SERVER],
        envs={"STANDIN_URI": pooling.uri(PASSWORD), "STANDIN_POOL": str(POOL)},
        volumes=[(FILE, "/standin.py", "ro")],
    ) as container:
        yield container


def fail(seen: Counter[str], reason: str) -> None:
    """Count a request that nobody answered, and say why."""
    print(f"{time.strftime('%H:%M:%S')} failed: {reason}", file=sys.stderr, flush=True)
    seen["failed"] += 1


def answers(url: str, count: int) -> Counter[str]:
    """Send POSTs over connections that stay open; return who answered, and "failed" for those that nobody did."""

    def some(share: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        for _ in range(share):
            try:
                connection.request("POST", "/v1/agents/", body=b"{}")
                answer = connection.getresponse()
                answer.read()
                if name := answer.headers.get("X-Replica"):
                    seen[name] += 1
                else:
                    fail(seen, f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                fail(seen, repr(error))
                connection.close()
        connection.close()
        return seen

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(some, [count // CLIENTS] * CLIENTS), Counter())


def known(gateway: Gateway) -> int:
    """Return how many replicas nginx is told to ask."""
    return int(inside(gateway, "grep -c '^server .*:8284' /tmp/gateway/upstream.conf || true"))


def inside(gateway: Gateway, line: str) -> str:
    """Run a line of shell in the gateway's container."""
    return process.capture(["docker", "exec", gateway.container, "sh", "-c", line]).strip()


def reload_cost(gateway: Gateway, times: int = 5) -> float:
    """Return the processor time of a reload, without what the gateway does meanwhile anyway."""

    def spent(line: str) -> float:
        before = processor.seconds(gateway.container)
        inside(gateway, f"for i in $(seq {times}); do {line}; sleep 1; done")
        return processor.seconds(gateway.container) - before

    idle = spent("true")
    reloads = spent("nginx -c /tmp/gateway/nginx.conf -s reload")
    return round((reloads - idle) * 1000 / times, 1)


def look_up(gateway: Gateway, times: int = 20) -> float:
    """Return how long one look at the DNS takes, in milliseconds."""
    line = f"s=$(date +%s%N); for i in $(seq {times}); do getent ahostsv4 {SERVER} >/tmp/names; done; echo $((($(date +%s%N) - s) / {times}))"
    return round(int(inside(gateway, line)) / 1e6, 1)
