"""Writes rows one after the other through the address of the database, and says of each when it was acknowledged.

Runs in a container beside the stack, with psycopg2. Standard input has the URI in its first line, and ends the work with its end.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import threading
import time

PAUSE_SECONDS = 0.02
TABLE = "letta_stack_failover"


def main() -> None:
    """Write until standard input ends."""
    psycopg2 = importlib.import_module("psycopg2")
    uri = sys.stdin.readline().strip()
    ended = threading.Event()
    threading.Thread(target=wait_for_end, args=(ended,), daemon=True).start()
    connection = None
    number = 0
    while not ended.is_set():
        number += 1
        try:
            if connection is None:
                connection = psycopg2.connect(uri, connect_timeout=2)
                connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO {TABLE} VALUES (%s)", (number,))  # noqa: S608 - a constant
            # Not the clock of the host: only differences between these lines count.
            sys.stdout.write(json.dumps({"number": number, "at": time.monotonic()}) + "\n")
            sys.stdout.flush()
        except psycopg2.Error:
            with contextlib.suppress(psycopg2.Error):
                if connection is not None:
                    connection.close()
            connection = None
        ended.wait(PAUSE_SECONDS)


def wait_for_end(ended: threading.Event) -> None:
    """Say when standard input has ended."""
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
