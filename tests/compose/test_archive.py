"""Point-in-time recovery: only where it is asked for, and whatever starts PostgreSQL archives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base.paths import ROOT
from letta_stack.policy.rules import RULES
from letta_stack.topology import archive, archive_store, backups
from letta_stack.topology.catalogue import ARCHIVE, BACKUP, DATABASE
from letta_stack.topology.project import INTERNAL_TLS_OVERLAY, MONITORING_TLS_OVERLAY
from letta_stack.topology.runners.compose import Compose

if TYPE_CHECKING:
    from collections.abc import Callable

    Render = Callable[..., dict[str, Any]]

WITH_SECRETS = ["prod", "observability"]
ON = {archive.VARIABLE: archive.ON}
KEY = "/etc/pgbackrest/conf.d/key.conf"


@pytest.mark.parametrize("env", WITH_SECRETS)
def test_without_the_setting_there_is_no_archive(env: str, render: Render) -> None:
    model = render(env)

    assert ARCHIVE not in model["services"]
    assert archive.VOLUME not in model["volumes"]


@pytest.mark.parametrize("env", WITH_SECRETS)
def test_both_services_have_repository_key_and_socket_and_no_more_than_they_need(
    env: str, render: Render
) -> None:
    model = render(env, **ON)

    database, keeper = (model["services"][name] for name in (DATABASE.name, ARCHIVE))
    assert [rule.name for rule in RULES for _ in rule.problems(keeper)] == []
    assert keeper["network_mode"] == "none"
    assert keeper["image"] == database["image"]
    assert keeper["environment"] == {
        name: backups.DEFAULTS[name] for name in (backups.DAYS_VARIABLE, backups.INTERVAL_VARIABLE)
    }
    mine, theirs = (
        {one["target"]: (one["source"], one.get("read_only")) for one in service["volumes"]}
        for service in (keeper, database)
    )
    for target in ("/var/lib/pgbackrest", "/run/postgresql"):
        assert mine[target] == theirs[target]
    assert mine["/var/lib/postgresql/data"] == ("db", True)
    for service in (database, keeper):
        assert KEY in [one["target"] for one in service["secrets"]]
        assert "/run/postgresql" not in "".join(service["tmpfs"])


def test_every_chain_of_start_scripts_ends_in_the_entry_point_that_archives() -> None:
    overlays = (INTERNAL_TLS_OVERLAY, MONITORING_TLS_OVERLAY)
    model = Compose("mine", "compose/observability.yaml", ON, overlays).config()

    scripts = [one.rpartition("/")[2] for one in model["services"][DATABASE.name]["entrypoint"]]
    assert scripts == ["start-with-logs", "start-with-tls"]
    last = (ROOT / "compose/postgres" / scripts[-1]).read_text(encoding="utf-8")
    assert last.splitlines()[-1] == 'exec docker-entrypoint.sh "$@"'


def test_backups_have_the_key_with_the_archive_alone(render: Render) -> None:
    recipient = {backups.RECIPIENTS_VARIABLE: "age1mine"}
    path = "/secrets/archive-key"

    for given, expected in (({}, "/dev/null"), ({archive.KEY_VARIABLE: path}, path)):
        model = render("prod", **recipient, **given)
        assert {"source": "archive-key", "target": "/run/secrets/archive-key"} in (
            model["services"][BACKUP]["secrets"]
        )
        assert model["secrets"]["archive-key"]["file"] == expected


def test_other_topologies_take_no_notice(render: Render) -> None:
    assert ARCHIVE not in render("dev", **ON)["services"]


@pytest.mark.parametrize("env", WITH_SECRETS)
def test_an_archive_in_a_store_has_a_way_there_that_leads_nowhere_else(
    env: str, render: Render
) -> None:
    model = render(env, **ON, **{archive_store.VARIABLE: "s3://kept"})

    database, keeper = (model["services"][name] for name in (DATABASE.name, ARCHIVE))
    assert [rule.name for rule in RULES for _ in rule.problems(keeper)] == []
    assert "network_mode" not in keeper
    assert list(keeper["networks"]) == [archive_store.NAME]
    assert set(database["networks"]) == {archive_store.NAME, "data"}
    assert [
        name
        for name, service in model["services"].items()
        if archive_store.NAME in (service.get("networks") or {})
    ] == sorted([DATABASE.name, ARCHIVE])
    for service in (database, keeper):
        assert archive_store.CA_PATH in [one["target"] for one in service["secrets"]]
    # Its keys are in a file that both have, and in no variable.
    assert "s3://" not in str(model)
