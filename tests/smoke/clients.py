"""Clients that go on asking while something is done to the servers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import requests

from tests.smoke import harness

if TYPE_CHECKING:
    from tests.smoke.harness import Server

EACH_SECOND = 10


class Clients:
    """Requests at a steady rate until the block ends; ``failures`` is what did not go well."""

    def __init__(self, deployment: Server) -> None:
        self.url = f"{deployment.url}/v1/agents/?limit=1"
        self.headers = {"Authorization": f"Bearer {deployment.password}"}
        self.failures: list[str] = []
        self.sent = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(50) as pool:
            started = time.monotonic()
            while not self._ended.is_set():
                pool.submit(self._one)
                self.sent += 1
                time.sleep(max(0.0, started + self.sent / EACH_SECOND - time.monotonic()))

    def _one(self) -> None:
        try:
            answer = requests.get(self.url, headers=self.headers, timeout=harness.REQUEST_SECONDS)
        except requests.RequestException as error:
            self.failures.append(str(error))
        else:
            if not answer.ok:
                self.failures.append(f"{answer.status_code} {answer.text[:100]}")
