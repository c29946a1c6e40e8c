"""Pushes a layout in a process of its own, which a test can interrupt: HOST REPOSITORY VERSION LAYOUT."""

from __future__ import annotations

import sys
from pathlib import Path

from letta_stack.errors import InterruptedByUser, LettaStackError
from tests.release import support


def main() -> int:
    """Behave as tasks.py does."""
    host, repository, version, layout = sys.argv[1:]
    try:
        support.push(host, repository, version, Path(layout))
    except LettaStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted; run the same command again to go on", file=sys.stderr)
        return InterruptedByUser.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
