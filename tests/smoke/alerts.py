"""The receivers of alerts: what their files say, what arrives at them, and the shape that the real ones want."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator  # noqa: TC003 - a fixture's annotation
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from tests.smoke import harness

if TYPE_CHECKING:
    from letta_stack.secrets.store import Store

HOST = "alert-receiver"
PORT = 9912
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
PAGERDUTY = "/v2/enqueue"
RECEIVERS = ("/slack", "/teams", PAGERDUTY, "mail")
FILES = {
    "alert-slack-url": f"http://{HOST}:{PORT}/slack",
    "alert-teams-url": f"http://{HOST}:{PORT}/teams",
    "alert-pagerduty-key": ROUTING_KEY,
    "alert-pagerduty-url": f"http://{HOST}:{PORT}/v2/enqueue",
    "alert-smtp-url": f"smtp://{HOST}:9925?from=letta@example.org&to=ops@example.org&tls=none",
}


def configure(store: Store) -> None:
    """Write the files before the first start, as an operator does."""
    store.directory.mkdir(mode=0o700, parents=True)
    for name, text in FILES.items():
        store.write(name, text)


@dataclass(frozen=True)
class Receiver:
    """What arrived so far."""

    url: str

    def told(self, receiver: str, alert: str, *, resolved: bool) -> bool:
        """Say whether a receiver has heard of an alert, or of its end."""
        arrived = requests.get(self.url, timeout=10).json()
        bodies = [one["body"] for one in arrived if one["receiver"] == receiver]
        if receiver == PAGERDUTY:
            return pagerduty(bodies, alert, resolved=resolved)
        return any(SHAPES[receiver](body, alert, resolved) for body in bodies)


@contextlib.contextmanager
def receiving(project: str) -> Iterator[Receiver]:
    """Run the receivers where Alertmanager has its way out."""
    with harness.script(
        "receiver",
        "alert_receiver.py",
        networks=[f"{project}_notify"],
        network_aliases=[HOST],
        publish=[("127.0.0.1:", PORT)],
    ) as container:
        yield Receiver(harness.published_url(container, PORT))


def title(alert: str, *, resolved: bool) -> str:
    return f"[{'RESOLVED' if resolved else 'FIRING'}] {alert} "


def slack(body: dict[str, Any], alert: str, resolved: bool) -> bool:
    (attachment,) = body["attachments"]
    mine: bool = attachment["title"].startswith(title(alert, resolved=resolved))
    return mine and f"docs/runbooks/{alert}.md" in attachment["text"]


def teams(body: dict[str, Any], alert: str, resolved: bool) -> bool:
    (card,) = body["attachments"]
    assert body["type"] == "message"
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    texts = [one.get("text", "") for one in card["content"]["body"]]
    return any(text.startswith(title(alert, resolved=resolved)) for text in texts)


def pagerduty(bodies: list[dict[str, Any]], alert: str, *, resolved: bool) -> bool:
    """Say whether an incident was opened for an alert, or closed again under the same key."""
    assert all(body["routing_key"] == ROUTING_KEY for body in bodies)
    opened = {
        body["dedup_key"]
        for body in bodies
        if body["event_action"] == "trigger"
        and body["payload"]["severity"] == "critical"
        and body["payload"]["summary"].startswith(title(alert, resolved=False))
    }
    closed = {body["dedup_key"] for body in bodies if body["event_action"] == "resolve"}
    return bool(opened & closed if resolved else opened)


def mail(body: dict[str, Any], alert: str, resolved: bool) -> bool:
    assert "<letta@example.org>" in body["from"]
    assert "<ops@example.org>" in body["to"]
    return f"Subject: {title(alert, resolved=resolved)}" in body["text"]


SHAPES = {"/slack": slack, "/teams": teams, "mail": mail}
