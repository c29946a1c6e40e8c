"""Who is told about alerts: a file for each receiver in `.secrets/<project>/`, and what Alertmanager makes of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from letta_stack.errors import BadValue

if TYPE_CHECKING:
    from collections.abc import Mapping

SLACK = "alert-slack-url"
TEAMS = "alert-teams-url"
PAGERDUTY = "alert-pagerduty-key"
PAGERDUTY_URL = "alert-pagerduty-url"
SMTP = "alert-smtp-url"
NAMES = (SLACK, TEAMS, PAGERDUTY, PAGERDUTY_URL, SMTP)

EVENTS_API = "https://events.pagerduty.com/v2/enqueue"
_KEY = re.compile(r"[A-Za-z0-9]{32}")
_TITLE = "[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }} ({{ .CommonLabels.severity }})"
_TEXT = "{{ range .Alerts }}{{ .Annotations.summary }}\nWhat to do: {{ .Annotations.runbook }}\n{{ end }}"


def configuration(given: Mapping[str, str]) -> dict[str, Any]:
    """Return Alertmanager's configuration for the contents of the files that exist, by name.

    Without any, alerts are only to be seen in the dashboards. Raises BadValue.
    """
    team: dict[str, Any] = {"name": "team"}
    if SLACK in given:
        url = _web(SLACK, given[SLACK])
        team["slack_configs"] = [
            {"api_url": url, "title": _TITLE, "text": _TEXT, "send_resolved": True}
        ]
    if TEAMS in given:
        url = _web(TEAMS, given[TEAMS])
        team["msteamsv2_configs"] = [
            {"webhook_url": url, "title": _TITLE, "text": _TEXT, "send_resolved": True}
        ]
    if SMTP in given:
        team["email_configs"] = [_mail(given[SMTP])]
    pager: dict[str, Any] = {"name": "pager"}
    if PAGERDUTY in given:
        pager["pagerduty_configs"] = [_pagerduty(given)]
    return {
        "route": {
            "receiver": "team",
            "group_by": ["alertname"],
            "group_wait": "10s",
            "group_interval": "30s",
            "repeat_interval": "4h",
            "routes": [
                {"receiver": "pager", "matchers": ['severity="critical"'], "continue": True},
                {"receiver": "team"},
            ],
        },
        # When the API is down, the smaller things that follow from it say nothing new.
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="ApiDown"'],
                "target_matchers": ['severity="warning"', 'follows="ApiDown"'],
            }
        ],
        "receivers": [team, pager],
    }


def _pagerduty(given: Mapping[str, str]) -> dict[str, Any]:
    if not _KEY.fullmatch(given[PAGERDUTY]):
        raise BadValue(
            f"{PAGERDUTY} is not an integration key: 32 letters and digits, from an integration of type Events API v2"
        )
    return {
        "routing_key": given[PAGERDUTY],
        "url": _web(PAGERDUTY_URL, given.get(PAGERDUTY_URL, EVENTS_API)),
        "severity": "{{ .CommonLabels.severity }}",
        "description": _TITLE,
        "details": {"summary": _TEXT},
        "send_resolved": True,
    }


def _web(name: str, text: str) -> str:
    """Return an address of the web. The message does not repeat it: it is a secret."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", text):
        raise BadValue(
            f"{name} is not an address; write https://HOST/PATH, as the service shows it"
        )
    return text


def _mail(text: str) -> dict[str, Any]:
    """Read smtp://USER:PASSWORD@HOST:PORT?from=A@B&to=C@D, with `&tls=none` for a relay without TLS."""
    form = f"{SMTP} must look like smtp://USER:PASSWORD@HOST:587?from=letta@example.org&to=you@example.org"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadValue(form) from None
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if parts.scheme != "smtp" or not parts.hostname or not port or not {"from", "to"} <= set(query):
        raise BadValue(form)
    if unknown := set(query) - {"from", "to", "tls"}:
        raise BadValue(f"{form}; it has {', '.join(sorted(unknown))}")
    if query.get("tls", "required") not in {"required", "none"}:
        raise BadValue(f"{form}, and &tls=none for a relay without TLS")
    found: dict[str, Any] = {
        "smarthost": f"{parts.hostname}:{port}",
        "from": query["from"],
        "to": query["to"],
        "require_tls": query.get("tls") != "none",
        "headers": {"Subject": _TITLE},
        "text": _TEXT,
        "send_resolved": True,
    }
    if parts.username:
        found["auth_username"] = unquote(parts.username)
        found["auth_password"] = unquote(parts.password or "")
    return found
