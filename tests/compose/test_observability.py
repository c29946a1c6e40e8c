"""What `observability` adds to `prod`: nothing of prod's is lost, and nothing new is open."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.certs import make, store
from letta_stack.policy import lint
from letta_stack.topology.catalogue import TOPOLOGIES

if TYPE_CHECKING:
    import pytest

Render = Callable[..., dict[str, Any]]
SENDS_OUT = {"letta-alertmanager", "letta-collector", "letta-nginx", "letta-server"}


def ways_out(model: dict[str, Any]) -> set[str]:
    """Return the services on a network that is not internal."""
    open_ones = {name for name, one in model["networks"].items() if not one.get("internal")}
    return {
        name for name, one in model["services"].items() if open_ones & set(one.get("networks", ()))
    }


def test_what_keeps_data_has_no_way_out(render: Render) -> None:
    model = render("observability")
    neighbours = {
        # On the network of the gateway's clients, whom they stand for or count.
        *("letta-blackbox-exporter", "letta-nginx-exporter", "letta-containers"),
        "letta-dashboard",
    }

    assert ways_out(model) == SENDS_OUT | neighbours


def test_prods_services_are_prods(render: Render) -> None:
    prod, watched = render("prod")["services"], render("observability")["services"]
    same = ("image", "user", "read_only", "cap_drop", "command", "deploy", "healthcheck", "tmpfs")

    for name in TOPOLOGIES["prod"].names:
        for key in same:
            assert watched[name].get(key) == prod[name].get(key), f"{name} {key}"
        assert set(prod[name].get("networks", ())) <= set(watched[name].get("networks", ()))


def test_the_policy_has_one_exception_with_its_reason(render: Render) -> None:
    found = lint.check("observability", render("observability"))

    assert [(one.service, one.rule.name) for one in found] == [
        ("letta-nginx-exporter", "health-check")
    ]
    assert found[0].waiver


def test_no_password_is_in_an_environment(render: Render) -> None:
    for name, service in render("observability")["services"].items():
        for key, value in (service.get("environment") or {}).items():
            if key.endswith(("_PASSWORD_FILE", "_PASS_FILE")):
                assert str(value).startswith("/run/secrets/"), f"{name} {key}"
            elif key.endswith("PASSWORD"):
                assert not value, f"{name} {key}"


def test_the_exporters_speak_tls_where_the_databases_do(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)
    directory = store.directory("letta-stack-observability")
    make.internal(directory, days=90, force=False, now=dt.datetime.now(tz=dt.UTC), say=print)

    services = render("observability")["services"]

    bound = [one for one in services["letta-db"]["volumes"] if one["type"] == "bind"]
    there = {one["target"]: Path(one["source"]).exists() for one in bound}
    assert there["/etc/letta-stack/start-with-tls"]
    assert there["/etc/letta-stack/pg_hba.conf"]
    database = services["letta-postgres-exporter"]["environment"]["DATA_SOURCE_URI"]
    assert "sslmode=verify-full" in database
    assert services["letta-redis-exporter"]["environment"]["REDIS_ADDR"].startswith("rediss://")
    for name in ("letta-postgres-exporter", "letta-redis-exporter"):
        targets = {one["target"] for one in services[name]["volumes"]}
        assert "/etc/letta-stack/internal-ca.pem" in targets, name
