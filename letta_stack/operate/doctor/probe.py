"""Runs inside a server's container: what its programs can reach from there. Standard library only; JSON in, JSON out."""

from __future__ import annotations

import concurrent.futures
import importlib
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

SECONDS = 2.5


def status(url: str, headers: dict[str, str]) -> str:
    """Return the status of a GET, or why there was none."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the server's own providers
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - as above
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def listens(port: int) -> bool:
    """Say whether something takes connections on a port of this container."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=SECONDS).close()
    except OSError:
        return False
    return True


def resolves(name: str) -> bool:
    """Say whether a name has an address."""
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def head() -> str:
    """Return the newest revision that this image's migrations lead to."""
    sys.path.insert(0, "/opt/letta-stack")
    migrate = importlib.import_module("entrypoint.migrate")
    versions = Path("/opt/letta/alembic/versions").glob("*.py")
    newest: str = migrate.revisions(path.read_text() for path in versions)[1]
    return newest


def main() -> None:
    """Answer everything at once."""
    asked: dict[str, Any] = json.load(sys.stdin)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        statuses = {
            one["name"]: pool.submit(
                status,
                one["url"],
                {
                    name: text.replace("{key}", os.environ.get(one["key"], "") or "DUMMY_API_KEY")
                    for name, text in one["headers"].items()
                },
            )
            for one in asked["urls"]
        }
        names = {name: pool.submit(resolves, name) for name in asked["names"]}
        answer = {
            "head": head(),
            "collector": listens(4317),
            "statuses": {name: one.result() for name, one in statuses.items()},
            "names": {name: one.result() for name, one in names.items()},
            "environment": {name: os.environ.get(name, "") for name in asked["variables"]},
        }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
