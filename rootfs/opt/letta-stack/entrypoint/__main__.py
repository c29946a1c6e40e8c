"""``python -m entrypoint STEP``: one line and an exit code instead of a traceback.

Steps of the whole stack: prepare, create_database, migrate, serve, collector. ``standalone migrate`` and ``standalone serve`` are one of them
by itself, as the container's first process.
"""

from __future__ import annotations

import importlib
import os
import sys

from .errors import StartError
from .log import log


def main() -> int:
    """Run one step of the start and return its exit code."""
    step = sys.argv[1]
    if step in {"migrate", "serve"}:
        from . import hardening, patches  # noqa: PLC0415 - not for root's steps

        hardening.forbid_inspection()
        hardening.take_environment()
        patches.install()
    try:
        importlib.import_module(f"entrypoint.{step}").main(*sys.argv[2:])
    except StartError as error:
        log(f"ERROR: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Tearing down an interpreter that has imported the server takes half a second.
    os._exit(status)
