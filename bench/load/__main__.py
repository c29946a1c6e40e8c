"""What `prod` can take: requests per second, latencies, errors, memory, growth; with one, two and four servers.

    python -m bench.load [--replicas 1,2,4] [--seconds S] [--messages N] [--raw FILE]
    python -m bench.load --replicas ''       what a message leaves, on disk and in the server's memory, and nothing else

Clients are the SDK's, driven by Locust on the same machine; the model is scripted and answers at once, or a word each 150 ms in
a stream. What counts begins when each client has its agent and is warm. For each number of servers: calls without a model at a stated rate, the same as fast as they are answered, turns, and
streams. Then messages one after the other, for the slope of the server's memory and the bytes that a message leaves: neither needs a
quiet machine. The processor time a request tells where the bottleneck is, also on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.load import locusts, usage
from letta_stack.base.wait import wait_until
from letta_stack.image.sources import Sources
from letta_stack.operate import replicas
from letta_stack.operate.faults import run, workload
from letta_stack.topology import lifecycle
from letta_stack.topology.catalogue import SERVER
from tests.smoke import harness
from tests.smoke.conftest import deployed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.operate.faults.stack import Stack

RATE = 20  # calls a second of the stated load: so many clients, one call each second
BUSY = 8
TALKERS = 4
LISTENERS = 20
MARK_MILLISECONDS = 200.0  # p95 of calls without a model, at RATE
WARM_UP_MESSAGES = 200  # caches fill, imports happen; for the slope they do not count
SAMPLES = 100
TRANSACTIONS = "transactions"  # of the database, among the processor seconds of services
START_SECONDS = 300.0


def scale(stack: Stack, count: int) -> Stack:
    """Run so many servers, each known to the gateway."""
    sources = Sources.of(images="auto", otelcol="auto", letta_source="", ca="")
    prepared, _ = lifecycle.prepare(stack.project, sources)
    prepared.runner.scale(SERVER, count)
    wait_until(
        lambda: [one.ready for one in replicas.of(stack.project)] == [True] * count,
        timeout=START_SECONDS,
        interval=0.5,
        describe=f"{count} servers are not healthy",
    )
    replicas.wait_until_known(stack.project, replicas.of(stack.project))
    return run.of(stack.project)


def measure(stack: Stack, clients: str, users: int, seconds: float) -> dict[str, Any]:
    """Return what Locust counted, and the processor time of each service a request."""
    found = locusts.run(
        stack,
        clients,
        users=users,
        seconds=seconds,
        count=lambda: {**usage.cpu(stack), TRANSACTIONS: usage.transactions(stack)},
    )
    count = max(found.rows["all"].requests, 1)
    a_request = {name: (found.after[name] - found.before[name]) / count for name in found.after}
    transactions = a_request.pop(TRANSACTIONS)
    return {
        "users": users,
        "rows": {name: asdict(one) for name, one in found.rows.items()},
        "cpu_ms_a_request": {name: round(cost * 1000, 2) for name, cost in a_request.items()},
        "transactions_a_request": round(transactions, 2),
    }


def levels(stack: Stack, counts: Sequence[int], seconds: float) -> dict[str, Any]:
    """Measure every kind of load for every number of servers."""
    found: dict[str, Any] = {}
    for count in counts:
        stack = scale(stack, count)
        found[str(count)] = {
            clients: measure(stack, clients, users, seconds)
            for clients, users in (
                ("Api", RATE),
                ("Busy", BUSY),
                ("Talker", TALKERS),
                ("Listener", LISTENERS),
            )
        }
        show(count, found[str(count)])
    return found


def show(count: int, found: dict[str, Any]) -> None:
    """Print one number of servers."""
    for clients, one in found.items():
        row = one["rows"]["all"]
        costly, cost = max(one["cpu_ms_a_request"].items(), key=lambda pair: pair[1])
        print(
            f"{count} servers, {one['users']:2} {clients:8} {row['per_second']:7.1f}/s  p50 {row['p50']:6.0f}  "
            f"p95 {row['p95']:6.0f}  p99 {row['p99']:6.0f} ms  {row['failures']} failed of {row['requests']}; "
            f"most processor time: {costly}, {cost:.1f} ms a request",
            flush=True,
        )


def growth(stack: Stack, messages: int) -> dict[str, Any]:
    """Send messages one after the other; return the memory's slope and the bytes that one leaves."""
    stack = scale(stack, 1)
    (server,) = stack.containers(SERVER)
    samples: list[tuple[int, int]] = []
    with workload.agents(stack) as agents:

        def send(count: int) -> None:
            for number in range(count):
                answer = stack.client.message(agents[number % len(agents)], "one two three", "")
                if not answer.done:
                    raise SystemExit(f"a message failed: {answer.status} {answer.text[:300]}")

        send(WARM_UP_MESSAGES)
        before = usage.size(stack)
        for step in range(SAMPLES):
            samples.append((step * messages // SAMPLES, usage.memory(server)))
            send(messages // SAMPLES)
        samples.append((messages, usage.memory(server)))
        bytes_a_message = usage.size(stack).per(before, messages)
    line = usage.fit(samples)
    found = {
        "messages": messages,
        "messages_before": WARM_UP_MESSAGES,
        "memory_kb_a_message": round(line.slope / 1000, 3),
        "memory_kb_a_message_error": round(line.error / 1000, 3),
        "memory_samples": samples,
        "bytes_a_message": bytes_a_message,
    }
    print(
        f"memory: {line.slope / 1000:.2f} KB a message, standard error {line.error / 1000:.2f}, over {messages} messages after "
        f"{WARM_UP_MESSAGES} that do not count"
    )
    for name, count in bytes_a_message.items():
        print(f"growth a message: {name:28} {count:8.0f} bytes")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicas", default="1,2,4")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--raw", type=Path)
    options = parser.parse_args()
    counts = [int(one) for one in options.replicas.split(",") if one]
    with deployed("prod", "load", harness.PROVIDER) as deployment:
        stack = run.of(deployment.stack)
        with workload.model(stack):
            found = levels(stack, counts, options.seconds)
            raw = {
                "processors": os.cpu_count(),
                "seconds": options.seconds,
                "servers": found,
                "growth": growth(stack, options.messages),
            }
    if found:
        worst = max(one["Api"]["rows"]["all"]["p95"] for one in found.values())
        verdict = "kept" if worst < MARK_MILLISECONDS else "MISSED"
        print(
            f"p95 of calls without a model at {RATE}/s: {worst:.0f} ms (mark {MARK_MILLISECONDS:.0f}, {verdict})"
        )
    if options.raw:
        options.raw.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
