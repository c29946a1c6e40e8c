"""A registry that answers from a list, in place of the network."""

from __future__ import annotations

import io
import json
from typing import Any

import requests

HOST = "registry.example"


def answer(
    status: int = 200, body: object = None, *, url: str = "", **headers: str
) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response.raw = io.BytesIO(content)
    response.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
    response.url = url
    response.request = requests.Request("GET", url).prepare() if url else requests.PreparedRequest()
    return response


def wants(challenge: str) -> requests.Response:
    """Ask for a login, in the words of the WWW-Authenticate header."""
    return answer(401, WWW_Authenticate=challenge)


def tags(*names: str) -> requests.Response:
    """List tags."""
    return answer(body={"tags": list(names)})


class Script:
    """Answers requests in order and remembers them, each with the options that requests was given."""

    def __init__(self, *answers: requests.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, str]] = []
        self.options: list[dict[str, Any]] = []

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        prepared = options["auth"](requests.Request(method, url).prepare())
        self.asked.append((method, url, prepared.headers.get("Authorization", "")))
        data: Any = options.get("data")
        self.options.append({**options, "data": data.read() if hasattr(data, "read") else data})
        item = self.answers.pop(0)
        if isinstance(item, Exception):
            raise item
        item.url = item.url or url
        item.request = requests.Request(method, url).prepare()
        return item

    def get(self, url: str, **options: Any) -> requests.Response:
        return self.request("GET", url, **options)
