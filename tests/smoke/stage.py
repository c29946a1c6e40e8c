"""A collector in front of a ClickHouse, with what breaks between them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import requests
from python_on_whales import docker

from letta_stack.base.paths import ROOT
from tests.smoke import harness, telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# What a test cannot wait for, and what it waits for instead: an outage of 10 minutes, retries up to 30 s apart, retries that
# end after 300 s; all of it 60 times as fast.
SHORTER = {
    "max_interval: 30s": "max_interval: 500ms",
    "max_elapsed_time: 300s": "max_elapsed_time: 5s",
}


@dataclass(frozen=True)
class Count:
    """What a case sent, what is stored of it, how often a connection to ClickHouse ended in the middle."""

    sent: int
    stored: int
    twice: int
    interruptions: int
    lost_at_most: int = 0


@dataclass(frozen=True)
class Stage:
    """A ClickHouse, and how a collector in front of it is started."""

    network: str
    image: str
    clickhouse: telemetry.Clickhouse
    settings: Mapping[str, str]
    directory: Path

    @contextlib.contextmanager
    def collector(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        mounts: tuple[telemetry.Mount, ...] = (),
        disk: str = "",
    ) -> Iterator[telemetry.Collector]:
        """Run a collector of this case's own."""
        with telemetry.collector(
            self.clickhouse.database,
            self.network,
            {**self.settings, **(settings or {})},
            mounts=mounts,
            disk=disk,
        ) as one:
            yield one

    def shorter(self, *names: str) -> tuple[telemetry.Mount, ...]:
        """Return what is mounted over configurations to have their times pass faster."""
        mounts = []
        for name in names:
            text = (ROOT / "otel" / f"{name}.yaml").read_text(encoding="utf-8")
            for long, short in SHORTER.items():
                text = text.replace(long, short)
            path = self.directory / f"{name}.yaml"
            path.write_text(text, encoding="utf-8")
            mounts.append((path, f"/etc/otel/{name}.yaml", "ro"))
        return tuple(mounts)

    @contextlib.contextmanager
    def another(self, **options: Any) -> Iterator[Stage]:
        """Run another ClickHouse, with options of the engine's."""
        name = f"{self.clickhouse.database}-other"
        endpoint = {"CLICKHOUSE_ENDPOINT": f"http://{name}:8123"}
        with telemetry.clickhouse(name, self.network, self.image, alias=name, **options) as one:
            store = replace(one, database=self.clickhouse.database)
            yield replace(self, clickhouse=store, settings={**self.settings, **endpoint})

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Stop ClickHouse, gone from the network's names as well; start it again with its data."""
        docker.container.stop(self.clickhouse.container, time=5)
        try:
            yield
        finally:
            docker.container.start(self.clickhouse.container)
            self.clickhouse.wait_ready()

    def arrive(self, expected: int) -> None:
        """Wait until that many different spans are stored."""
        harness.expect(
            lambda: self.stored()[1] >= expected,
            timeout=telemetry.SECONDS,
            what=lambda: f"{self.stored()[1]} of {expected} spans are stored",
        )

    def stored(self) -> tuple[int, int]:
        """Return how many spans are stored, and how many different ones."""
        try:
            return self.clickhouse.stored("")
        except requests.RequestException:
            return 0, 0  # the table, or the server, is not there yet

    def count(self, sent: int, *, interruptions: int, lost_at_most: int = 0) -> Count:
        """Wait until all that was sent is stored, but for what may be lost, and count."""
        self.arrive(sent - lost_at_most)
        rows, different = self.stored()
        return Count(sent, different, rows - different, interruptions, lost_at_most)
