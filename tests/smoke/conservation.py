"""What happens to a collector on its way to ClickHouse: each case sends, breaks something, and counts what is stored."""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING

import requests
from python_on_whales import docker

from tests.smoke import harness, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.smoke.stage import Count, Stage

COUNT = 10
WAITS = "ClickHouse cannot be used yet"
WRONG = "wr0ng-passw0rd"
REFUSED = "no space left on device"
FOUND = "requests of before are sent first"
BIG = 300_000
"""Bytes of a request that fills something."""
SMALL = 1000
SMALL_DISK = "8m"
STORE = "/var/lib/clickhouse"
STORE_DISK = "32m"
QUEUE = 20
CONSUMERS = 4
EMPTY_QUEUES = 2**20
QUEUE_OVERHEAD = 1.5  # pages of the last transactions
OUTAGE = 10.0


def late(stage: Stage) -> Count:
    """ClickHouse is not there at start; the collector is killed while it waits."""
    with contextlib.ExitStack() as stack:
        with stage.outage():
            collector = stack.enter_context(stage.collector())
            collector.send_spans("before", COUNT)
            assert WAITS in collector.logs()
            collector.crash()
            collector.send_spans("after", COUNT)
        count = stage.count(2 * COUNT, interruptions=1)
    tables = {one["name"] for one in stage.clickhouse.rows("SHOW TABLES")}
    assert {"otel_traces", "otel_logs", "otel_metrics_sum", "llm_traces"} <= tables
    return count


def wrong_password(stage: Stage) -> Count:
    """ClickHouse refuses the password; the collector is killed, and started again with the right one."""
    file = stage.directory / "password"
    file.write_text(WRONG, encoding="utf-8")
    settings = {"CLICKHOUSE_PASSWORD": "", "CLICKHOUSE_PASSWORD_FILE": "/password"}
    with stage.collector(settings, mounts=((file, "/password", "ro"),)) as collector:
        collector.send_spans("refused", COUNT)
        assert f"{WAITS}: http://{telemetry.CLICKHOUSE}:8123 answers 403" in collector.logs()
        assert WRONG not in collector.logs()
        file.write_text(telemetry.PASSWORD, encoding="utf-8")
        collector.crash()
        return stage.count(COUNT, interruptions=0)


def gone(stage: Stage) -> Count:
    """ClickHouse goes; the collector is killed meanwhile; both come back."""
    with stage.collector() as collector:
        collector.send_spans("before", COUNT)
        with stage.outage():
            collector.send_spans("during", COUNT)
            collector.crash()
        collector.send_spans("after", COUNT)
        return stage.count(3 * COUNT, interruptions=2)


def long_outage(stage: Stage) -> Count:
    """ClickHouse is gone for longer than the seed's numbers try: 10 minutes, 60 times as fast."""
    with stage.collector(mounts=stage.shorter("clickhouse")) as collector:
        collector.send_spans("before", COUNT)
        with stage.outage():
            collector.send_spans("during", COUNT)
            time.sleep(OUTAGE)
        return stage.count(2 * COUNT, interruptions=1)


def ten_minutes(stage: Stage) -> Count:
    """The same, at its own pace."""
    with stage.collector() as collector:
        collector.send_spans("before", COUNT)
        with stage.outage():
            collector.send_spans("during", COUNT)
            time.sleep(600)
        return stage.count(2 * COUNT, interruptions=1)


def engine(stage: Stage) -> Count:
    """Everything is killed at once and started again with its volumes, as by a restart of the engine."""
    with stage.collector() as collector:
        collector.send_spans("before", COUNT)
        both = [collector.container, stage.clickhouse.container]
        docker.container.kill(both, signal="KILL")
        docker.container.start(both)
        collector.send_spans("after", COUNT)
        return stage.count(2 * COUNT, interruptions=1)


def full_queue(stage: Stage) -> Count:
    """ClickHouse is gone until the queue is full; what is refused, the sender has to repeat."""
    settings = {"LETTA_STACK_TELEMETRY_QUEUE": str(QUEUE)}
    with stage.collector(settings) as collector:
        collector.send_spans("before", 1)
        stage.arrive(1)
        with stage.outage():
            taken = collector.fill(2 * QUEUE, BIG)
            # What the consumers hold does not count as waiting.
            assert QUEUE <= taken <= QUEUE + CONSUMERS
            assert collector.used(telemetry.STORAGE) <= taken * BIG * QUEUE_OVERHEAD + EMPTY_QUEUES
        collector.send_spans("after", COUNT)
        return stage.count(1 + taken + COUNT, interruptions=1)


def full_queue_killed(stage: Stage) -> Count:
    """The same, and the collector is killed while the queue is full, which 0.96.0 alone would not survive."""
    settings = {"LETTA_STACK_TELEMETRY_QUEUE": str(QUEUE)}
    with stage.collector(settings) as collector:
        collector.send_spans("before", 1)
        stage.arrive(1)
        with stage.outage():
            taken = collector.fill(2 * QUEUE, BIG)
            collector.crash()
        collector.send_spans("after", COUNT)
        return stage.count(1 + taken + COUNT, interruptions=2)


def found_queue(stage: Stage) -> Count:
    """The store refuses; the collector is killed; what it finds and what comes is more than a queue; it is killed again."""
    settings = {"LETTA_STACK_TELEMETRY_QUEUE": str(QUEUE)}
    with without_room(stage) as (other, room), other.collector(settings) as collector:
        collector.send_spans("before", 1)
        other.arrive(1)
        with room():
            collector.send_spans("found", COUNT)
            collector.crash()
            # Another queue takes them: 0.96.0 alone would stand still with this one's lock, and never go on.
            collector.send_spans("first", 1)
            assert FOUND in collector.logs()
            taken = collector.fill(2 * QUEUE, SMALL)
            assert QUEUE - 1 <= taken <= QUEUE - 1 + CONSUMERS
            collector.crash()
        collector.send_spans("after", COUNT)
        return other.count(1 + COUNT + 1 + taken + COUNT, interruptions=2)


@contextlib.contextmanager
def held(volume: str) -> Iterator[None]:
    """Keep a volume in memory while the container that uses it is killed."""
    with harness.running(
        "holder",
        command=["infinity"],
        entrypoint="sleep",
        healthcheck=False,
        volumes=[(volume, "/held")],
    ):
        yield


def full_disk(stage: Stage) -> Count:
    """ClickHouse is gone until the queue's disk is full; it goes on without a restart."""
    with stage.collector(disk=SMALL_DISK) as collector:
        taken = fill_disk(stage, collector)
        collector.send_spans("after", COUNT)
        return stage.count(1 + taken + COUNT, interruptions=1)


def full_disk_killed(stage: Stage) -> Count:
    """The same, and the collector is killed while the disk is full.

    What its consumers had taken finds no room in the queue at the next start, nor does the note of what they take first.
    """
    with stage.collector(disk=SMALL_DISK) as collector, held(collector.volume):
        taken = fill_disk(stage, collector, end=collector.crash)
        collector.send_spans("after", COUNT)
        return stage.count(1 + taken + COUNT, interruptions=2, lost_at_most=2 * CONSUMERS)


def fill_disk(
    stage: Stage, collector: telemetry.Collector, *, end: Callable[[], None] = lambda: None
) -> int:
    """Send until the queue's disk is full; return how many requests were taken after the first."""
    collector.send_spans("before", 1)
    stage.arrive(1)
    with stage.outage():
        taken = collector.fill(2 * QUEUE, BIG)
        assert 0 < taken < 2 * QUEUE
        assert REFUSED in collector.logs()
        end()
    return taken


def full_store(stage: Stage) -> Count:
    """ClickHouse has no room on its disk; later it has."""
    with without_room(stage) as (other, room), other.collector() as collector:
        collector.send_spans("before", 1)
        other.arrive(1)
        with room():
            collector.send_spans("full", COUNT)
            assert other.stored() == (1, 1)
        return other.count(1 + COUNT, interruptions=0)


@contextlib.contextmanager
def without_room(
    stage: Stage,
) -> Iterator[tuple[Stage, Callable[[], contextlib.AbstractContextManager[None]]]]:
    """Run another ClickHouse, and yield it with what takes the room on its disk."""
    with stage.another(tmpfs=[f"{STORE}:size={STORE_DISK},uid=101"]) as other:

        @contextlib.contextmanager
        def filled() -> Iterator[None]:
            filler = f"{STORE}/filler"
            write = f"dd if=/dev/zero of={filler} bs=4k 2>/dev/null || test -s {filler}"
            docker.container.execute(other.clickhouse.container, ["sh", "-c", write])
            yield
            docker.container.execute(other.clickhouse.container, ["rm", filler])

        yield other, filled


def lost_answers(stage: Stage) -> Count:
    """ClickHouse stores, and the network loses three of its answers."""
    proxy = f"{stage.clickhouse.database}-proxy"
    arguments = [telemetry.CLICKHOUSE, "8123", "3"]
    with (
        harness.script(
            proxy,
            "forgetful_proxy.py",
            arguments=arguments,
            networks=[stage.network],
            network_aliases=[proxy],
        ),
        stage.collector({"CLICKHOUSE_ENDPOINT": f"http://{proxy}:8123"}) as collector,
    ):
        collector.send_spans("answer lost", COUNT)
        return stage.count(COUNT, interruptions=3)


def otlp(name: str, network: str, *, mounts: Sequence[telemetry.Mount] = ()) -> set[str]:
    """A backend of OTLP is not there; the collector is killed; it comes. Return the names of the spans that do not arrive."""
    key = secrets.token_hex(8)
    settings = {
        "SIGNOZ_ENDPOINT": "signoz:4317",
        "SIGNOZ_INGESTION_KEY": key,
        "SIGNOZ_INSECURE": "true",
    }
    sent = {f"{when} {number}" for when in ("before", "after") for number in range(COUNT)}
    with telemetry.collector(f"{name}-outage", network, settings, mounts=mounts) as collector:
        collector.send_spans("before", COUNT)
        collector.crash()
        collector.send_spans("after", COUNT)
        with telemetry.receiver(f"{name}-late", network, key) as url:

            def missing() -> set[str]:
                with contextlib.suppress(requests.ConnectionError):
                    arrived = requests.get(url, timeout=30).text
                    return {one for one in sent if f'"{one}"' not in arrived}
                return sent

            harness.expect(
                lambda: not missing(),
                timeout=telemetry.SECONDS,
                what=lambda: f"{missing()} do not arrive; {collector.logs()[-2000:]}",
            )
            return missing()
