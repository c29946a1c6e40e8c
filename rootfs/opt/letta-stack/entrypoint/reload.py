"""The server for those who change its source: a saved file brings a fresh worker within seconds.

Importing the server takes ten seconds, most of them for modules that nobody edits. This process keeps those imported and
forks a worker, which imports only the server's own.
"""

from __future__ import annotations

import compileall
import functools
import importlib
import os
import signal
import sys
import time
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from . import debugger, paths
from .errors import StartError
from .log import log

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_INTERVAL = 0.25
"""Seconds between two looks. Notifications do not come through the bind mounts of every engine."""
_GRACE = 2.0
"""Seconds for the requests of a worker whose code is old."""
_MODULES = paths.WORK_DIR / "modules"
_BYTECODE = paths.WORK_DIR / "bytecode"
_OWN = ("letta", "entrypoint", "__main__")


def main(serve: Callable[[], None]) -> NoReturn:
    """Run ``serve`` in a worker, and again in a fresh one after each change, until SIGTERM."""
    source = _source()
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    warm = False
    seen = _stamps(source)
    while True:
        worker = _fork(functools.partial(_work, serve, warm=warm))
        _Worker.pid = worker
        while (now := _stamps(source)) == seen:
            if not warm and _MODULES.exists():
                _preload()
                _fork(functools.partial(_compile, source))
                warm = True
            _reap(worker)
            time.sleep(_INTERVAL)
        changed = sorted(path for path in {*now, *seen} if now.get(path) != seen.get(path))
        log(f"reloading: {os.path.relpath(changed[0], source)} has changed")
        seen = now
        _stop(worker, _GRACE)


class _Worker:
    """The one worker, for the signal handler; 0 when it has ended."""

    pid = 0


def _source() -> Path:
    """Return the directory of the server's modules, without importing them."""
    spec = find_spec("letta")
    if spec is None or spec.origin is None:
        raise StartError("there is no letta package to reload")
    return Path(spec.origin).parent


def _stamps(source: Path) -> dict[str, int]:
    """Return when each module was changed; one that disappears meanwhile is left out."""
    found = {}
    for directory, directories, names in os.walk(source):
        directories[:] = [name for name in directories if name != "__pycache__"]
        for name in names:
            if name.endswith(".py"):
                path = f"{directory}/{name}"
                try:
                    found[path] = os.stat(path).st_mtime_ns  # noqa: PTH116 - a Path for each of 900 files costs more
                except OSError:
                    continue
    return found


def _fork(task: Callable[[], None]) -> int:
    """Run a task in a child process; return its number. A task that returns has ended well."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    status = 1
    try:
        task()
        status = 0
    except StartError as error:
        log(f"ERROR: {error}")
        status = error.exit_code
    except BaseException:  # noqa: BLE001 - whatever somebody has just written
        traceback.print_exc()
        log("the server has ended; the next saved file starts it again")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _work(serve: Callable[[], None], *, warm: bool) -> None:
    """Serve; the first time, note what was imported beside the server's own modules."""
    if warm:
        # Only the server's own modules are still to be imported, so the image's bytecode of the others is not needed.
        sys.pycache_prefix = str(_BYTECODE)
        sys.dont_write_bytecode = False
    importlib.import_module("entrypoint.app")
    if not warm:
        names = [name for name in sys.modules if name.partition(".")[0] not in _OWN]
        unfinished = _MODULES.with_suffix(".new")
        unfinished.write_text("\n".join(names))
        unfinished.rename(_MODULES)
    debugger.listen()
    serve()


def _preload() -> None:
    """Import what the first worker needed, in its order."""
    for name in _MODULES.read_text().splitlines():
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001, S112 - a module that only an importer of its own can make
            continue


def _compile(source: Path) -> None:
    """Write the bytecode of the server's modules, so that a worker compiles only what has changed."""
    os.nice(10)
    sys.pycache_prefix = str(_BYTECODE)
    compileall.compile_dir(source, quiet=2)


def _reap(worker: int) -> None:
    """Collect children that have ended."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == worker:
            _Worker.pid = 0


def _stop(worker: int, grace: float) -> None:
    """End a worker: first ask, then insist."""
    deadline = time.monotonic() + grace
    if _Worker.pid:
        os.kill(worker, signal.SIGTERM)
    while _Worker.pid and time.monotonic() < deadline:
        time.sleep(0.02)
        _reap(worker)
    if _Worker.pid:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        _Worker.pid = 0


def _end(_signal: int, _frame: FrameType | None) -> None:
    if _Worker.pid:
        _stop(_Worker.pid, _GRACE)
    os._exit(0)
