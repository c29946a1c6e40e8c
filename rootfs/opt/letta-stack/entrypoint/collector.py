"""The collector: embedded as otelcol's own service, or all that a container does (`docker run IMAGE collector`)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import clickhouse, environment, paths, queues, telemetry
from .errors import BadVolume
from .log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType


@dataclass(frozen=True)
class Place:
    """Where a collector is at home: in the container, or on a host that `inv otelcol.start` runs it on."""

    program: Path
    configurations: Path
    directory: Path


CONTAINER = Place(Path("/usr/local/bin/otelcol-contrib"), Path("/etc/otel"), paths.VOLUME / "otel")
_QUESTION_SECONDS = 5.0
"""Between two questions to a ClickHouse that does not answer."""
_LOOK_SECONDS = 1.0
"""Between two looks into the file of a queue that is being sent."""
_STOP_SECONDS = 20
_VERSION_SECONDS = 30
_SENDING = {"clickhouse": "clickhouse_", "signoz": "otlp_signoz"}
"""The exporters that have a queue, by backend, as their files are named."""
_KEEPING = "otlp_waiting"
_REFUSES_SINCE = (0, 100)
"""From then on a queue that is longer than its limit refuses; before, it stands still."""
_ON_THEIR_WAY = 4
"""Requests that a queue's consumers have at most."""


def main() -> None:
    """Become the container's collector. Raises StartError."""
    settings = environment.resolve_files(
        environment.drop_empty(os.environ), lambda path: Path(path).read_text(encoding="utf-8")
    )
    run({"LETTA_VERSION": _letta_version()} | settings, CONTAINER)


def run(settings: Mapping[str, str], place: Place) -> None:
    """Become the collector; until its backend can be given something new, be the parent of one that keeps everything on disk.

    Raises StartError.
    """
    backend = telemetry.backend(settings)
    variables = telemetry.collector_environment(settings)
    variables |= {"PATH": os.environ["PATH"], "OTEL_DIRECTORY": str(place.directory)}
    start = Start(settings, place, variables, _storage(place.directory), _said(place.program))
    if backend == "clickhouse":
        start.wait_for_clickhouse()
    if backend in _SENDING:
        start.drain(_SENDING[backend])
    start.become(_SENDING.get(backend, ""))


@dataclass(frozen=True)
class Start:
    """A start of the collector."""

    settings: Mapping[str, str]
    place: Place
    variables: Mapping[str, str]
    storage: Path
    said: str  # by the program about its version

    def wait_for_clickhouse(self) -> None:
        """Keep what comes until ClickHouse can be used."""
        tables = (self.place.configurations / "clickhouse.sql").read_text(encoding="utf-8")
        reason = clickhouse.prepare(self.variables, tables)
        if reason is None:
            return
        log(f"ClickHouse cannot be used yet: {reason}; telemetry is kept on disk until it can")
        self.keep(
            "waiting",
            until=lambda: clickhouse.prepare(self.variables, tables) is None,
            seconds=_QUESTION_SECONDS,
        )
        log("ClickHouse answers; it gets what was kept")

    def drain(self, exporter: str) -> None:
        """Keep what comes until the backend has what its queue had before.

        0.96.0 counts what it found at its start beside the limit and not inside: once both are more than the limit, one sender
        waits for room with the queue's lock in its hand, and no consumer can make any.
        """
        if telemetry.version(self.said) >= _REFUSES_SINCE:
            return
        found = self.queue(exporter)
        if found is None or not found.waiting:
            return
        log(
            f"{found.waiting} requests of before are sent first; telemetry is kept on disk meanwhile"
        )

        def drained() -> bool:
            now = self.queue(exporter)
            return now is not None and not now.waiting

        self.keep("draining", until=drained, seconds=_LOOK_SECONDS)
        log("they are sent; the backend gets what was kept")

    def become(self, exporter: str) -> None:
        """Become the collector that sends."""
        argv = command(self.settings, self.place, self.said)
        os.execve(argv[0], argv, self.with_length(exporter))  # noqa: S606 - there is no shell to want

    def keep(self, phase: telemetry.Phase, *, until: Callable[[], bool], seconds: float) -> None:
        """Run a collector that does not send what comes."""
        argv = command(self.settings, self.place, self.said, phase)
        _keep(argv, self.with_length(_KEEPING), until=until, seconds=seconds)

    def queue(self, exporter: str) -> queues.Queue | None:
        """Return what an exporter's queue has, None if that cannot be told."""
        try:
            return queues.longest(self.storage, exporter)
        except (OSError, ValueError):
            return None

    def with_length(self, exporter: str) -> dict[str, str]:
        """Return the environment for a collector in which this exporter's queue has at least the room that its content needs.

        A start puts what was on its way on top of what waits. It waits for ever, or drops, what does not fit.
        """
        length = int(self.variables["OTEL_QUEUE_SIZE"])
        found = self.queue(exporter) if exporter else queues.NOTHING
        if found is None or telemetry.version(self.said) >= _REFUSES_SINCE:
            length += _ON_THEIR_WAY
        else:
            length = max(length, found.waiting + found.on_their_way)
        return {**self.variables, "OTEL_QUEUE_SIZE": str(length)}


def command(
    settings: Mapping[str, str], place: Place, said: str, phase: telemetry.Phase = "sending"
) -> list[str]:
    """Return what runs the collector, which says ``said`` about its version. Raises StartError."""
    listen = telemetry.LOOPBACK
    if telemetry.for_prometheus(settings):
        listen = telemetry.collector_environment(settings)["OTEL_LISTEN"]
    files = telemetry.configuration(settings, phase)
    return [
        str(place.program),
        telemetry.own_metrics(said, listen),
        *(f"--config={place.configurations / name}.yaml" for name in files),
    ]


def _said(program: Path) -> str:
    """Return what the collector says about itself, "" if it says nothing."""
    try:
        asked = [str(program), "--version"]
        return subprocess.run(
            asked, capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _storage(directory: Path) -> Path:
    """Make the directory of the queues and return it. Raises BadVolume."""
    storage = directory / "storage"
    try:
        storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Named in otel/base.yaml; also the proof that the directory can be written.
        (storage / "empty.log").write_text("")
    except OSError as error:
        raise BadVolume(
            f"cannot write {storage}: {error.strerror}; mount a volume at {directory} that belongs to user {os.getuid()}"
        ) from error
    return storage


def _letta_version() -> str:
    found = sorted(Path("/opt/letta/venv/lib").glob("python3.*/site-packages/letta-*.dist-info"))
    return found[0].name.removeprefix("letta-").removesuffix(".dist-info") if found else "unknown"


def _keep(
    argv: Sequence[str],
    variables: Mapping[str, str],
    *,
    until: Callable[[], bool],
    seconds: float,
) -> None:
    """Run a collector that keeps everything, ask every so many seconds, and stop it once that is no longer needed.

    Leaves with the collector's exit code if it ends by itself, or because this process was told to stop.
    """
    child = subprocess.Popen(argv, env=dict(variables))

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    while True:
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            if until():
                break
        else:
            # As a shell says it: 128 + N after signal N.
            raise SystemExit(code if code >= 0 else 128 - code)
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    # The ports may be free a moment later only.
    time.sleep(0.1)
