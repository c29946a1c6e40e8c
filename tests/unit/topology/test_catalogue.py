"""The records of the topologies against the compose files that they stand for."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from letta_stack.base.paths import ROOT
from letta_stack.topology.catalogue import HEALTH_PATH, PORT_VARIABLE, TOPOLOGIES, find, health_path
from letta_stack.topology.model import Service, Topology
from letta_stack.topology.project import BIND_VARIABLE, REPLICAS_VARIABLE, Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Fragment = dict[str, Any]
# What a variable stands for when nobody has set it; ":+" then stands for nothing.
DEFAULT = re.compile(r"\$\{\w+:(?:-(\w+)|\+[^}]*)\}")


def fragments(topology: Topology) -> Iterator[Fragment]:
    """Yield the entry and every fragment that it includes."""
    entry = ROOT / topology.entry
    model = read(entry)
    yield model
    for include in model["include"]:
        for path in include["path"]:
            yield read(entry.parent / DEFAULT.sub(r"\1", path))


@functools.cache
def read(path: Path) -> Fragment:
    # How compose merges (!reset, !override) is of no interest here.
    model: Fragment = yaml.safe_load(re.sub(r"!(reset|override)\b", "", path.read_text()))
    return model


def bodies(topology: Topology, service: str) -> list[Fragment]:
    found = [one.get("services", {}).get(service) for one in fragments(topology)]
    return [one for one in found if one]


def every(topology: Topology) -> str:
    return repr(list(fragments(topology)))


@pytest.fixture(params=TOPOLOGIES.values(), ids=list(TOPOLOGIES))
def topology(request: pytest.FixtureRequest) -> Topology:
    found: Topology = request.param
    return found


def test_a_topology_is_found_by_its_name_and_is_composes_project(topology: Topology) -> None:
    assert find(topology.name) is topology
    (name,) = (one["name"] for one in fragments(topology) if "name" in one)
    assert name == topology.default_project == Project.of(topology.name).name
    assert topology.summary


def test_its_services_are_those_of_the_files(topology: Topology) -> None:
    defined = {
        name
        for one in fragments(topology)
        for name, body in one.get("services", {}).items()
        if "image" in body
    }

    assert set(topology.names) == defined


def test_a_service_has_the_image_of_its_pin(topology: Topology) -> None:
    for service in topology.services:
        (image,) = (one["image"] for one in bodies(topology, service.name) if "image" in one)
        assert image.startswith(f"${{{service.image or 'LETTA_STACK_IMAGE'}:")


def test_the_servers_are_the_ones_that_replicas_multiplies(topology: Topology) -> None:
    multiplied = [
        service
        for service in topology.services
        if REPLICAS_VARIABLE in repr(bodies(topology, service.name))
    ]

    assert [one for one in topology.services if one.replicated] == multiplied


def test_one_shot_is_what_is_not_restarted(topology: Topology) -> None:
    ending = {
        name
        for name in topology.names
        if any(body.get("restart") == "no" for body in bodies(topology, name))
    }

    assert topology.one_shots == {one.name for one in topology.services if one.one_shot} == ending


def test_only_a_service_that_there_is_no_package_for_may_be_missing(topology: Topology) -> None:
    assert [one.name for one in topology.services if one.optional] == (
        ["letta-llm"] if topology.language_model else []
    )
    assert topology.language_model == ("services/llm-" in every(topology))


def test_the_health_of_a_gateway_is_asked_at_its_own_path(topology: Topology) -> None:
    gateway = topology.published == "letta-nginx"
    template = (ROOT / "compose/nginx/server.conf.template").read_text()

    assert health_path(topology) == ("/health" if gateway else "/v1/health/")
    assert "location = /health {" in template


def test_what_it_publishes_takes_its_port_from_the_variable_of_a_flag(topology: Topology) -> None:
    ports = {
        (service, port["published"].strip("${}").partition(":")[0])
        for service in topology.names
        for body in bodies(topology, service)
        for port in body.get("ports", [])
    }
    api = {(topology.published, PORT_VARIABLE)} if topology.published else set()

    assert ports == api | {(one.service, one.variable) for one in topology.extra_ports}
    assert BIND_VARIABLE in every(topology)


def test_secret_files_are_made_for_the_topology_that_mounts_them(topology: Topology) -> None:
    assert topology.secrets == any("secrets" in one for one in fragments(topology))


def test_a_source_tree_is_mounted_where_the_files_say_so(topology: Topology) -> None:
    assert topology.mounts_source == ("LETTA_STACK_SOURCE" in every(topology))


def test_a_certificate_is_for_those_whose_secrets_are_files(topology: Topology) -> None:
    assert topology.tls == topology.secrets


def test_the_path_of_the_health_check_is_the_images_own() -> None:
    assert f"GET {HEALTH_PATH} " in (ROOT / "rootfs/usr/local/bin/letta-healthcheck").read_text()


def test_the_flags_of_services_choose_the_ports_of_database_and_redis() -> None:
    project = Project.of("services", pg_port="5433", redis_port="6380")

    assert project.variables == {"LETTA_STACK_PG_PORT": "5433", "LETTA_STACK_REDIS_PORT": "6380"}
    assert project.port_flags == {"letta-db": "--pg-port", "letta-redis": "--redis-port"}


def test_what_a_record_comes_to() -> None:
    one = Topology(
        "one",
        "",
        "one.yaml",
        (
            Service("web", replicated=True),
            Service("job", one_shot=True),
            Service("db", image="DB"),
            Service("replica", image="DB"),
            Service("model", image="MODEL", optional=True),
        ),
    )

    assert one.default_project == "letta-stack-one"
    assert one.names == ("web", "job", "db", "replica", "model")
    assert one.images == ("DB",)
    assert one.has_server is True
    assert one.expected(3) == {"web": 3, "job": 1, "db": 1, "replica": 1}
    data = Topology("data", "", "data.yaml", (Service("db", image="DB"),))
    assert data.has_server is False
    assert [data.published, data.extra_ports] == ["", ()]
    assert [data.mounts_source, data.secrets, data.tls, data.language_model] == [False] * 4
