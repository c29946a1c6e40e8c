"""The life of the host's collector: start, status, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from letta_stack.base import console, http_wait, process
from letta_stack.base.wait import wait_until
from letta_stack.errors import CollectorFailed, CollectorNotRunning, PortBusy, WaitTimedOut
from letta_stack.telemetry import install, rule

if TYPE_CHECKING:
    from letta_stack.telemetry.layout import Layout

HEALTH = "http://127.0.0.1:13133/"
PORTS = (4317, 4318, 13133)
START_SECONDS = 30.0
STOP_SECONDS = 40.0  # a collector with a full queue and a dead backend tries each request once more
HEALTH_SECONDS = 3.0


def start(layout: Layout) -> None:
    """Start it in the background and return when it is healthy; one that runs already is left alone.

    Raises:
        CollectorFailed: it ended, or did not become healthy in time.
        PortBusy: something else listens on one of its ports.

    """
    install.verify(layout)
    names = rule.files(rule.settings())
    if pid := running(layout):
        console.say(f"collector runs already: process {pid}")
        return
    for port in PORTS:
        with contextlib.closing(socket.socket()) as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                raise PortBusy(f"port {port} is in use; stop what listens there")
    layout.data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "letta_stack.telemetry.run", str(layout.directory)]
    pid = process.spawn(command, log=layout.log)
    layout.pid.write_text(f"{pid}\n", encoding="utf-8")
    try:
        http_wait.wait_for_status(HEALTH, timeout=START_SECONDS)
    except WaitTimedOut as error:
        stop(layout)
        raise CollectorFailed(
            f"the collector is not healthy after {START_SECONDS:g} s; {layout.log} says why"
        ) from error
    console.say(f"collector runs with {' + '.join(names)}: process {pid}, log {layout.log}")


def running(layout: Layout) -> int:
    """Return the process number, 0 if it does not run. A number that another program has by now does not count."""
    try:
        pid = int(layout.pid.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
    shown = process.probe(["ps", "-ww", "-p", str(pid), "-o", "stat=,command="]).stdout.strip()
    zombie = shown.startswith("Z")
    ours = str(layout.program) in shown or "letta_stack.telemetry.run" in shown
    return pid if ours and not zombie else 0


def stop(layout: Layout) -> None:
    """Stop it and return when it has ended. Raises CollectorFailed."""
    pid = running(layout)
    if not pid:
        layout.pid.unlink(missing_ok=True)
        console.say("collector does not run")
        return
    os.kill(pid, signal.SIGTERM)
    try:
        wait_until(
            lambda: not running(layout), timeout=STOP_SECONDS, interval=0.1, describe="still there"
        )
    except WaitTimedOut as error:
        raise CollectorFailed(
            f"process {pid} does not end within {STOP_SECONDS:g} s; look into {layout.log}, or end it with: kill -9 {pid}"
        ) from error
    layout.pid.unlink(missing_ok=True)
    console.say("collector stopped")


def status(layout: Layout) -> list[str]:
    """Return what is known about it, one line each. Raises CollectorNotRunning, CollectorMissing, CollectorBroken."""
    version = install.verify(layout)
    pid = running(layout)
    if not pid:
        raise CollectorNotRunning(
            f"collector {version} does not run; start it with `inv otelcol.start`"
        )
    try:
        http_wait.wait_for_status(HEALTH, timeout=HEALTH_SECONDS)
    except WaitTimedOut as error:
        raise CollectorNotRunning(
            f"process {pid} runs but {HEALTH} does not answer 200; see {layout.log}"
        ) from error
    return [
        f"collector {version}, process {pid}, healthy",
        f"configuration {' + '.join(rule.files(rule.settings()))}",
        f"log {layout.log}, data {layout.data}",
    ]
