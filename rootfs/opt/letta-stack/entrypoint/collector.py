"""The collector: embedded as otelcol's own service, or all that a container does (`docker run IMAGE collector`)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import clickhouse, environment, paths, telemetry
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
_STOP_SECONDS = 20
_ROOM = 8
"""More requests than a queue's consumers have on their way: four."""
_EMPTY_BYTES = 32 * 1024
"""The file of a queue in which nothing has ever waited."""
_SMALLEST_BYTES = 200
"""No request is smaller."""
_VERSION_SECONDS = 30


def main() -> None:
    """Become the container's collector. Raises StartError."""
    settings = environment.resolve_files(
        environment.drop_empty(os.environ), lambda path: Path(path).read_text(encoding="utf-8")
    )
    run({"LETTA_VERSION": _letta_version()} | settings, CONTAINER)


def run(settings: Mapping[str, str], place: Place) -> None:
    """Become the collector; while ClickHouse does not answer, be the parent of one that keeps everything on disk.

    Raises StartError.
    """
    backend = telemetry.backend(settings)
    variables = telemetry.collector_environment(settings)
    variables |= {"PATH": os.environ["PATH"], "OTEL_DIRECTORY": str(place.directory)}
    storage = _storage(place.directory)
    length = int(variables["OTEL_QUEUE_SIZE"])
    if backend == "clickhouse":
        tables = (place.configurations / "clickhouse.sql").read_text(encoding="utf-8")
        reason = clickhouse.prepare(variables, tables)
        if reason is not None:
            log(f"ClickHouse cannot be used yet: {reason}; telemetry is kept on disk until it can")
            waiting = command(settings, place, waiting=True)
            variables["OTEL_QUEUE_SIZE"] = str(queue_length(storage, length))
            _keep(waiting, variables, until=lambda: clickhouse.prepare(variables, tables) is None)
            log("ClickHouse answers; it gets what was kept")
    argv = command(settings, place)
    variables["OTEL_QUEUE_SIZE"] = str(queue_length(storage, length))
    os.execve(argv[0], argv, variables)  # noqa: S606 - there is no shell to want


def command(settings: Mapping[str, str], place: Place, *, waiting: bool = False) -> list[str]:
    """Return what runs the collector, while ClickHouse does not answer with ``waiting``. Raises StartError."""
    listen = telemetry.LOOPBACK
    if telemetry.for_prometheus(settings):
        listen = telemetry.collector_environment(settings)["OTEL_LISTEN"]
    files = telemetry.configuration(settings, waiting=waiting)
    return [
        str(place.program),
        telemetry.own_metrics(_version(place.program), listen),
        *(f"--config={place.configurations / name}.yaml" for name in files),
    ]


def _version(program: Path) -> str:
    """Return what the collector says about itself, "" if it says nothing."""
    try:
        asked = [str(program), "--version"]
        return subprocess.run(
            asked, capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def queue_length(storage: Path, length: int) -> int:
    """Return how many requests a queue may hold from this start on: ``length``, or more if it may be full already.

    0.96.0 puts what was on its way back into the queue before anything leaves it, and waits for ever if that does not fit. So
    it gets more room than it had the last time, until a start finds the queues as small as new ones.
    """
    note = storage / "queue-length"
    queues = [path.stat().st_size for path in storage.glob("exporter_*")]
    if queues and (max(queues) > _EMPTY_BYTES or length < _EMPTY_BYTES // _SMALLEST_BYTES):
        before = length
        with contextlib.suppress(OSError, ValueError):
            before = int(note.read_text())
        length = max(length, before + _ROOM)
    # In place: a full disk has no room for another file.
    with contextlib.suppress(OSError):
        descriptor = os.open(note, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(descriptor, f"{length:8}".encode(), 0)
        os.close(descriptor)
    return length


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


def _keep(argv: Sequence[str], variables: Mapping[str, str], *, until: Callable[[], bool]) -> None:
    """Run a collector that keeps everything, and stop it once ClickHouse can be used.

    Leaves with the collector's exit code if it ends by itself, or because this process was told to stop.
    """
    child = subprocess.Popen(argv, env=dict(variables))

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    while True:
        try:
            code = child.wait(_QUESTION_SECONDS)
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
