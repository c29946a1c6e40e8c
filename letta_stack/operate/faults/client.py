"""The HTTP client of the load: one attempt a request, a new connection each, so that every failure is seen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

READ_SECONDS = 15.0
TURN_SECONDS = 60.0
DEEP = "/v1/agents/?limit=1"  # needs the database; health does not
DONE = "data: [DONE]"


@dataclass(frozen=True)
class Answer:
    """What came back; ``status`` is 0 where nothing did."""

    status: int
    text: str
    done: bool  # whether it is whole and successful


@dataclass(frozen=True)
class Client:
    """How a project is reached."""

    url: str  # "" where ``base`` is another's
    password: str = field(repr=False)
    verify: str | bool = True

    def base(self) -> str:
        """Return the URL, without a slash at its end."""
        return self.url

    def read(self, trace: str) -> Answer:
        """Ask for something that is in the database."""
        return self._try("GET", DEEP, None, trace, READ_SECONDS)

    def answers(self) -> bool:
        """Say whether the API answers from the database."""
        return self._try("GET", DEEP, None, "", READ_SECONDS).done

    def message(self, agent: str, text: str, trace: str) -> Answer:
        """Send a message and wait for the end of the turn."""
        path = f"/v1/agents/{agent}/messages"
        answer = self._try("POST", path, {"input": text}, trace, TURN_SECONDS)
        return Answer(answer.status, answer.text, answer.done and ended_well(answer.text))

    def stream(self, agent: str, text: str, trace: str) -> Answer:
        """Send a message and read the stream to its end."""
        path = f"/v1/agents/{agent}/messages/stream"
        body = {"input": text, "stream_tokens": True}
        lines: list[str] = []
        status = 0
        try:
            with self._send("POST", path, body, trace, TURN_SECONDS, stream=True) as answer:
                status = answer.status_code
                lines.extend(map(str, answer.iter_lines(decode_unicode=True)))
        except requests.RequestException as error:
            lines.append(str(error))
        return Answer(
            status, "\n".join(lines), status == requests.codes.ok and stream_ended_well(lines)
        )

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of an answer that has to be good. Raises ``requests.RequestException``."""
        with self._send(method, path, body, "", TURN_SECONDS) as answer:
            answer.raise_for_status()
            return answer.json() if answer.content else None

    def _try(
        self, method: str, path: str, body: Mapping[str, Any] | None, trace: str, timeout: float
    ) -> Answer:
        try:
            with self._send(method, path, body, trace, timeout) as answer:
                return Answer(answer.status_code, answer.text, answer.ok)
        except requests.RequestException as error:
            return Answer(0, str(error), done=False)

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        trace: str,
        timeout: float,
        *,
        stream: bool = False,
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.password}"}
        if trace:
            headers["traceparent"] = f"00-{trace}-{trace[:16]}-01"
        return requests.request(
            method,
            self.base() + path,
            json=body,
            headers=headers,
            timeout=timeout,
            verify=self.verify,
            stream=stream,
        )


def ended_well(text: str) -> bool:
    """Say whether the answer to a message is that of a whole turn."""
    try:
        body = json.loads(text)
    except ValueError:
        return False
    return bool(body.get("stop_reason", {}).get("stop_reason") == "end_turn")


def stream_ended_well(lines: list[str]) -> bool:
    """Say whether a stream was not cut and its turn is whole."""
    reasons = [one.get("stop_reason") for one in events(lines)]
    return DONE in lines and "end_turn" in reasons


def events(lines: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the bodies of a stream's events."""
    for line in lines:
        if line.startswith("data: {"):
            try:
                yield json.loads(line.removeprefix("data: "))
            except ValueError:  # cut in the middle
                continue
