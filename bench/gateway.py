"""What the gateway costs: requests per second, first byte of a stream, processor time; beside the bare server.

    python -m bench.gateway [--blocks N] [--seconds S] [--connections N] [--raw FILE]

The server has a processor to itself; nginx and the client share another one. Without that the number is the scheduler's: the
server runs on one thread, and how often it is moved for nginx or the client decides. Blocks alternate: the bare server, then the
same through nginx, so that a busy machine slows both; the ratio of each such pair counts, and the spread says how far to trust
it. Processor time per request does not depend on who else is busy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from python_on_whales import docker

from letta_stack.base import http_wait
from letta_stack.engine import inspect
from letta_stack.image import third_party
from letta_stack.image.contract import API_PORT
from letta_stack.topology.catalogue import GATEWAY, HEALTH_PATH, SERVER
from tests.gateway import driver
from tests.smoke import harness
from tests.support import processor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

Address = tuple[str, int]

CONNECTIONS = 8  # more keep the server's loop busy whoever sends: docs/gateway.md, what it costs
STREAMS_PER_BLOCK = 40
START_SECONDS = 300.0
SSE = b"POST /events?count=2&pause=0.005 HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"
HEALTH = f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


async def _keep_asking(address: Address, until: float) -> int:
    """Send requests one after the other on one connection; return how many were answered."""
    reader, writer = await asyncio.open_connection(*address)
    answered = 0
    while time.monotonic() < until:
        writer.write(HEALTH)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().splitlines()
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        answered += 1
    writer.close()
    return answered


async def requests_per_second(address: Address, seconds: float, *, connections: int) -> float:
    """Return how many health checks a second are answered on so many connections."""
    begin = time.monotonic()
    counts = await asyncio.gather(
        *(_keep_asking(address, begin + seconds) for _ in range(connections))
    )
    return sum(counts) / (time.monotonic() - begin)


async def first_byte_milliseconds(address: Address, _seconds: float) -> float:
    """Return the median time to the first event of a stream."""
    times = []
    reader, writer = await asyncio.open_connection(*address)
    for _ in range(STREAMS_PER_BLOCK):
        begin = time.monotonic()
        writer.write(SSE)
        await reader.readuntil(b"data: 0\n\n")
        times.append((time.monotonic() - begin) * 1000)
        await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    return statistics.median(times)


def pairs(
    measure: Callable[[Address, float], Coroutine[None, None, float]],
    bare: Address,
    gateway: Address,
    *,
    blocks: int,
    seconds: float,
) -> list[tuple[float, float]]:
    """Measure both in turn."""
    for address in (bare, gateway):
        asyncio.run(
            measure(address, seconds)
        )  # the first connections and pages are not the subject
    return [
        (asyncio.run(measure(bare, seconds)), asyncio.run(measure(gateway, seconds)))
        for _ in range(blocks)
    ]


def two_processors() -> tuple[int, int]:
    """Return two processors that this process may use.

    Raises:
        SystemExit: there is only one.

    """
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) == 1:
        raise SystemExit("bench.gateway needs two processors: one for the server alone")
    return processors[0], processors[1]


def pin(container: str, number: int) -> None:
    """Let a container run on one processor only."""
    docker.container.update(container, cpuset_cpus=str(number))


def address_of(container: str, network: str, port: int) -> Address:
    """Return where a container listens on its network: past the engine's own proxy, which costs more than nginx."""
    networks = docker.container.inspect(container).network_settings.networks or {}
    return str(networks[network].ip_address), port


def spread(values: Sequence[float], form: str) -> str:
    """Write a median and the quartiles around it."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


@contextlib.contextmanager
def letta(network: str) -> Iterator[str]:
    """Run the image by itself as the server behind the gateway."""
    with harness.server("bench-server", networks=[network], network_aliases=[SERVER]) as one:
        host, port = address_of(one.container, network, API_PORT)
        http_wait.wait_for_status(f"http://{host}:{port}{HEALTH_PATH}", timeout=START_SECONDS)
        yield one.container


def main() -> None:
    """Print three comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--raw", type=Path)
    options = parser.parse_args()
    inspect.require()
    image = third_party.ensure([GATEWAY.image], source="auto", ca=None)[GATEWAY.image]
    raw: dict[str, object] = {}
    first, second = two_processors()
    os.sched_setaffinity(0, {second})
    sizes = {"blocks": options.blocks, "seconds": options.seconds}

    with (
        harness.network(f"{harness.RUN}-bench") as network,
        letta(network) as server,
        driver.gateway("bench-gateway", image, network) as one,
    ):
        containers = (server, one.container)
        pin(server, first)
        pin(one.container, second)
        gateway = address_of(one.container, network, driver.PORT)
        rate_of = functools.partial(requests_per_second, connections=options.connections)
        rates = pairs(rate_of, address_of(server, network, API_PORT), gateway, **sizes)
        before = [processor.seconds(container) for container in containers]
        rate = asyncio.run(rate_of(gateway, options.blocks * options.seconds / 4))
        after = [processor.seconds(container) for container in containers]
        used = [last - first for first, last in zip(before, after, strict=True)]
    with (
        harness.network(f"{harness.RUN}-bench-sse") as network,
        driver.backend("bench-scripted", network) as scripted,
        driver.gateway("bench-gateway-sse", image, network) as one,
    ):
        pin(scripted, first)
        pin(one.container, second)
        harness.expect(lambda: one.get("/health").ok, timeout=10, what="no scripted server")
        bytes_ = pairs(
            first_byte_milliseconds,
            address_of(scripted, network, API_PORT),
            address_of(one.container, network, driver.PORT),
            **sizes,
        )

    ratios = [behind / bare for bare, behind in rates]
    extra = [behind - bare for bare, behind in bytes_]
    share = used[1] / used[0]
    raw |= {"requests_per_second": rates, "first_byte_ms": bytes_, "cpu_share": share}
    print(f"requests per second, bare server:      {spread([one for one, _ in rates], '.0f')}")
    print(f"requests per second, behind nginx:     {spread([two for _, two in rates], '.0f')}")
    print(f"ratio of neighbouring blocks:          {spread(ratios, '.3f')}")
    print(f"first event of a stream, added ms:     {spread(extra, '.2f')}")
    print(f"nginx's processor time per server's:   {share:.3f} at {rate:.0f} requests per second")
    if options.raw:
        options.raw.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
