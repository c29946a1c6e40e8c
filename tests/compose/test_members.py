"""A database of several members: only where it is asked for, reachable under one name, and closed to everybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from letta_stack.base.paths import ROOT
from letta_stack.policy import lint
from letta_stack.topology import members
from letta_stack.topology.catalogue import ETCD, MEMBERS, PROXY, SERVER, find, with_members

if TYPE_CHECKING:
    from collections.abc import Callable

    Render = Callable[..., dict[str, Any]]

WITH_SECRETS = ["prod", "observability"]
ON = {members.VARIABLE: members.HA}
NAMES = [one.name for one in MEMBERS]
INSIDE = [*NAMES, *(one.name for one in ETCD)]


@pytest.mark.parametrize("env", WITH_SECRETS)
def test_without_the_setting_there_is_one_postgresql(env: str, render: Render) -> None:
    model = render(env)

    assert not {*INSIDE} & model["services"].keys()
    assert "database" not in model["networks"]


@pytest.mark.parametrize("env", WITH_SECRETS)
def test_the_record_names_every_service_and_every_service_keeps_the_rules(
    env: str, render: Render
) -> None:
    model = render(env, **ON)

    topology = with_members(find(env))
    assert model["services"].keys() == set(topology.names)
    services = {name: model["services"][name] for name in (PROXY.name, *INSIDE)}
    assert [str(one) for one in lint.check(env, {"services": services}) if not one.waiver] == []
    assert not any("ports" in one for one in services.values())


@pytest.mark.parametrize("env", WITH_SECRETS)
def test_nobody_but_the_proxy_reaches_members_and_etcd(env: str, render: Render) -> None:
    model = render(env, **ON)

    inside = {
        name for name, one in model["services"].items() if "database" in one.get("networks", {})
    }
    assert inside == {PROXY.name, *INSIDE}
    for name in INSIDE:
        assert set(model["services"][name]["networks"]) == {"database"}
    assert model["networks"]["database"]["internal"]
    assert set(model["services"][PROXY.name]["networks"]) == {"data", "database"}


@pytest.mark.parametrize("env", WITH_SECRETS)
def test_each_has_a_volume_of_its_own_and_that_of_one_postgresql_is_not_used(
    env: str, render: Render
) -> None:
    model = render(env, **ON)

    mounted = [
        mount["source"]
        for name in INSIDE
        for mount in model["services"][name]["volumes"]
        if mount["type"] == "volume" and mount["source"] != "database-log"
    ]
    assert len(mounted) == len(set(mounted)) == len(INSIDE)
    assert members.ONE_VOLUME not in model["volumes"]
    assert set(members.VOLUMES) < set(mounted)


@pytest.mark.parametrize("env", WITH_SECRETS)
def test_members_differ_in_their_name_alone(env: str, render: Render) -> None:
    services = render(env, **ON)["services"]
    clusters = {
        services[one.name]["environment"].pop("ETCD_INITIAL_CLUSTER") for one in ETCD
    }  # names all of them

    def without(name: str) -> str:
        return yaml.safe_dump(services[name]).replace(name.removeprefix("letta-"), "ONE")

    assert len(clusters) == 1
    for group in (NAMES, [one.name for one in ETCD]):
        assert len({without(name) for name in group}) == 1


def test_the_server_connects_to_the_same_name_as_ever(render: Render) -> None:
    one, several = (render("prod", **given)["services"] for given in ({}, ON))

    assert several[SERVER] == one[SERVER]
    assert several["letta-migrate"] == one["letta-migrate"]
    aliases = [model[PROXY.name]["networks"]["data"]["aliases"] for model in (one, several)]
    assert aliases[0] == aliases[1]


def test_what_one_postgresql_runs_at_its_first_start_the_members_run_too(render: Render) -> None:
    def scripts(name: str, **given: str) -> list[str]:
        mounts = render("prod", **given)["services"][name]["volumes"]
        return sorted(one["source"] for one in mounts if "initdb.d" in one["target"])

    assert scripts(PROXY.name) == scripts(NAMES[0], **ON)


def test_a_leader_is_missed_soon_and_the_times_fit_each_other() -> None:
    text = (ROOT / "images/patroni/patroni.yml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)["bootstrap"]["dcs"]

    assert settings["loop_wait"] + 2 * settings["retry_timeout"] <= settings["ttl"] <= 10
    assert settings["synchronous_mode"] is settings["synchronous_mode_strict"] is True
    assert settings["failsafe_mode"] is True


def test_patroni_keeps_its_lock_where_nobody_else_s_is_overwritten(render: Render) -> None:
    services = render("prod", **ON)["services"]

    for name in NAMES:
        assert "PATRONI_ETCD_HOSTS" in services[name]["environment"]
        assert "PATRONI_ETCD3_HOSTS" not in services[name]["environment"]
    assert all(services[one.name]["environment"]["ETCD_ENABLE_V2"] == "true" for one in ETCD)


def test_proxy_and_members_know_the_same_names() -> None:
    text = (ROOT / "compose/haproxy/haproxy.cfg").read_text(encoding="utf-8")

    servers = [line.split()[1:] for line in text.splitlines() if line.strip().startswith("server ")]
    assert servers == [[name, f"{name}:5432"] for name in NAMES]


def test_other_topologies_take_no_notice(render: Render) -> None:
    assert not {*INSIDE} & render("dev", **ON)["services"].keys()
