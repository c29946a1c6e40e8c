"""A transport, and answers by URL below it, in place of the network."""

from __future__ import annotations

from typing import Any

import requests
from requests.utils import select_proxy

from letta_stack.registry.reference import Target
from letta_stack.registry.retries import RetryPolicy
from letta_stack.registry.transport import Transport
from tests.support.scripted import HOST, answer


def transport(**options: Any) -> Transport:
    """Return a transport to ``HOST`` that trusts nothing in particular."""
    options = {"ca": None, "plain_http": (), "policy": RetryPolicy(), **options}
    return Transport(Target(HOST, "letta/letta"), **options)


class Answers(requests.adapters.BaseAdapter):
    """Answers by URL, below redirects and proxies; remembers what came."""

    def __init__(self, **locations: str) -> None:
        super().__init__()
        self.locations = locations
        self.seen: list[tuple[str, bool]] = []
        self.options: list[dict[str, Any]] = []
        self.headers: list[Any] = []

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        url = str(request.url)
        self.seen.append((url, select_proxy(url, options["proxies"]) is not None))
        self.options.append(options)
        self.headers.append(request.headers)
        key = url.rpartition("/")[2]
        if key in self.locations:
            reply = answer(307, url=url, Location=self.locations[key])
        else:
            reply = answer(200, {}, url=url)
        reply.request = request
        return reply

    def close(self) -> None:
        pass
