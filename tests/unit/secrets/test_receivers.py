"""Who is told about alerts, and what is refused before anything starts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import BadSecret, BadValue, SecretsExposed
from letta_stack.secrets import monitoring, receivers, scram
from letta_stack.secrets.store import Store

if TYPE_CHECKING:
    from pathlib import Path

SMTP = "smtp://me:p%40ss@mail.example.org:587?from=a@example.org&to=b@example.org"
KEY = "0123456789abcdef0123456789ABCDEF"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / ".secrets" / "mine")
    made.ensure(data="")
    monitoring.ensure(made)
    return made


def test_without_receivers_nobody_is_told_and_that_is_valid() -> None:
    found = receivers.configuration({})

    assert found["receivers"] == [{"name": "team"}, {"name": "pager"}]


def test_every_file_becomes_a_receiver_that_hears_of_the_end_too() -> None:
    given = {
        receivers.SLACK: "https://hooks.slack.example/T/B/x",
        receivers.TEAMS: "https://teams.example/x",
        receivers.PAGERDUTY: KEY,
        receivers.SMTP: SMTP,
    }
    team, pager = receivers.configuration(given)["receivers"]

    assert team["slack_configs"][0]["api_url"] == given[receivers.SLACK]
    assert team["msteamsv2_configs"][0]["webhook_url"] == given[receivers.TEAMS]
    mail = team["email_configs"][0]
    assert (mail["smarthost"], mail["auth_username"], mail["auth_password"]) == (
        *("mail.example.org:587", "me", "p@ss"),
    )
    assert mail["require_tls"] is True
    duty = pager["pagerduty_configs"][0]
    assert (duty["routing_key"], duty["url"]) == (KEY, receivers.EVENTS_API)
    configs = [one for part in (team, pager) for found in list(part.values())[1:] for one in found]
    assert len(configs) == 4
    assert all(one["send_resolved"] for one in configs)


def test_only_what_is_critical_wakes_somebody() -> None:
    route = receivers.configuration({})["route"]

    (pager,) = [one for one in route["routes"] if one["receiver"] == "pager"]
    assert pager["matchers"] == ['severity="critical"']
    assert pager["continue"] is True


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (receivers.SLACK, "hooks.slack.example/T/B/x"),
        (receivers.SLACK, "https:///services"),
        (receivers.SLACK, "https://a.example/x\nhttps://b.example/y"),
        (receivers.TEAMS, "ftp://teams.example/x"),
        (receivers.TEAMS, "https://[::1/x"),
        (receivers.PAGERDUTY, "short"),
        (receivers.SMTP, "mail.example.org"),
        (receivers.SMTP, "smtp://mail.example.org:port?from=a&to=b"),
        (receivers.SMTP, "smtp://mail.example.org:25?from=a@example.org"),
        (receivers.SMTP, SMTP + "&tls=maybe"),
        (receivers.SMTP, SMTP + "&tsl=none"),
    ],
)
def test_what_cannot_be_a_receiver_is_refused_without_repeating_it(name: str, text: str) -> None:
    with pytest.raises(BadValue, match=name) as refused:
        receivers.configuration({name: text})

    assert text not in str(refused.value)


def test_the_first_start_makes_passwords_and_what_services_read_of_them(store: Store) -> None:
    for name in monitoring.NAMES:
        assert len(store.read(name)) > 40
        assert store.path(name).stat().st_mode & 0o777 == 0o600
    login = store.read(monitoring.MONITOR_LOGIN)
    assert scram.matches(store.read(monitoring.MONITOR), login.split("'")[1])
    assert store.read(monitoring.CLICKHOUSE_LOGIN) == store.read(monitoring.CLICKHOUSE)
    users = store.read(monitoring.DASHBOARD_USERS)
    assert users == f"letta:{monitoring.hashed(store.read(monitoring.DASHBOARD))}"
    assert store.read(monitoring.DASHBOARD) not in users


def test_the_next_start_changes_nothing_until_a_password_is_another(store: Store) -> None:
    before = {path.name: path.read_text() for path in store.directory.iterdir()}
    monitoring.ensure(store)
    assert {path.name: path.read_text() for path in store.directory.iterdir()} == before

    store.write(monitoring.MONITOR, "another-password-of-mine")
    monitoring.ensure(store)
    changed = {
        path.name for path in store.directory.iterdir() if path.read_text() != before[path.name]
    }
    assert changed == {monitoring.MONITOR, monitoring.MONITOR_LOGIN}


def test_a_missing_password_is_made_anew_beside_old_data(store: Store) -> None:
    store.path(monitoring.DASHBOARD).unlink()
    store.ensure(data="mine_db")
    monitoring.ensure(store)

    assert store.path(monitoring.DASHBOARD).exists()


def test_a_receiver_arrives_in_alertmanagers_configuration(store: Store) -> None:
    store.write(receivers.SLACK, "https://hooks.slack.example/T/B/x")
    monitoring.ensure(store)

    found = json.loads(store.read(monitoring.ALERTMANAGER))
    assert found["receivers"][0]["slack_configs"][0]["api_url"].endswith("/T/B/x")


def test_secrets_that_are_no_secrets_are_refused(store: Store) -> None:
    store.write(receivers.SLACK, "https://hooks.slack.example/T/B/x", mode=0o644)
    with pytest.raises(SecretsExposed, match=receivers.SLACK):
        monitoring.ensure(store)
    store.path(receivers.SLACK).unlink()

    store.write(monitoring.DASHBOARD, "letta")
    with pytest.raises(BadSecret, match=monitoring.DASHBOARD):
        monitoring.ensure(store)
