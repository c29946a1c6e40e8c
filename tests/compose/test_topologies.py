from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml

from letta_stack.base.paths import ROOT
from letta_stack.certs import store
from letta_stack.image import contract
from letta_stack.pins.file import Pins
from letta_stack.topology import preflight
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.project import port_flags
from letta_stack.topology.runners.protocol import published

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from letta_stack.topology.model import Topology

Render = Callable[..., dict[str, Any]]
PINS = Pins.load()


def test_a_topology_has_the_services_that_its_entry_says(
    topology: Topology, render: Render
) -> None:
    assert set(topology.names) == set(render(topology.name)["services"])


def test_only_what_has_a_flag_is_published_and_only_on_this_machine(
    topology: Topology, render: Render
) -> None:
    flags = port_flags(topology)
    variables = {one.variable: str(9000 + number) for number, one in enumerate(flags)}
    ports = {
        name: [(port["host_ip"], port["published"]) for port in service["ports"]]
        for name, service in render(topology.name, **variables)["services"].items()
        if service.get("ports")
    }

    assert ports == {one.service: [("127.0.0.1", variables[one.variable])] for one in flags}


def test_the_api_is_at_the_same_port_in_every_topology(served: Topology, render: Render) -> None:
    (port,) = render(served.name)["services"][served.published]["ports"]

    assert port["published"] == "8283"


def test_services_publishes_at_the_ports_where_clients_look(render: Render) -> None:
    services = render("services")["services"]

    published = {name: service["ports"][0]["published"] for name, service in services.items()}
    assert published == {"letta-db": "5432", "letta-redis": "6379"}
    for service in services.values():
        assert service["healthcheck"]["interval"] == "1s"
        assert service["healthcheck"]["timeout"] == "3s"


def test_port_and_address_can_be_chosen_without_editing_files(
    served: Topology, render: Render
) -> None:
    services = render(served.name, LETTA_STACK_PORT="9000", LETTA_STACK_BIND="10.0.0.5")["services"]
    (port,) = services[served.published]["ports"]

    assert (port["host_ip"], port["published"]) == ("10.0.0.5", "9000")


def test_an_ipv6_address_needs_no_brackets(topology: Topology, render: Render) -> None:
    usual = [(one.service, one.port) for one in published(render(topology.name))]
    moved = published(render(topology.name, LETTA_STACK_BIND="::1"))

    assert [(one.service, one.port) for one in moved] == usual
    assert {one.address for one in moved} == {"::1"}


def test_every_image_comes_from_the_pins(topology: Topology, render: Render) -> None:
    images = {name: service["image"] for name, service in render(topology.name)["services"].items()}
    own = f"letta-stack/letta:{PINS['LETTA_VERSION']}"

    assert images == {one.name: PINS[one.image] if one.image else own for one in topology.services}


def test_rebuilt_images_take_the_place_of_the_pins(topology: Topology, render: Render) -> None:
    rebuilt = {key: f"letta-stack/rebuilt:{key.lower()}" for key in topology.images}
    images = {service["image"] for service in render(topology.name, **rebuilt)["services"].values()}

    assert images >= set(rebuilt.values())


def test_every_service_bounds_its_log_and_gains_no_privileges(
    topology: Topology, render: Render
) -> None:
    for name, service in render(topology.name)["services"].items():
        assert service["logging"]["options"]["max-size"] == "10m", name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == ("no" if name in topology.one_shots else "unless-stopped"), (
            name
        )


def test_the_server_keeps_its_data_and_time_to_finish_its_requests(
    served: Topology, render: Render
) -> None:
    services = render(served.name)["services"]
    server = services[SERVER]

    if served.secrets:  # its database's volume is another service's
        assert "volumes" not in server
    else:
        named = [volume for volume in server["volumes"] if volume["type"] == "volume"]
        assert [volume["target"] for volume in named] == [contract.VOLUME]
    assert server["stop_grace_period"] == "10m0s"
    assert services[served.published]["stop_grace_period"] == server["stop_grace_period"]


def test_a_provider_key_of_the_shell_reaches_the_server(served: Topology, render: Render) -> None:
    environment = render(served.name, OPENAI_API_KEY="sk-shell")["services"][SERVER]["environment"]

    assert environment["OPENAI_API_KEY"] == "sk-shell"


def test_the_server_knows_this_machine_by_name(served: Topology, render: Render) -> None:
    hosts = render(served.name)["services"][SERVER]["extra_hosts"]

    assert hosts == [f"{preflight.HOST_NAME}=host-gateway"]


def test_a_provider_key_that_nobody_set_stays_unset(served: Topology, render: Render) -> None:
    environment = render(served.name)["services"][SERVER]["environment"]

    assert environment["OPENAI_API_KEY"] is None


def test_dev_has_its_own_database_even_when_the_user_has_another_configured(render: Render) -> None:
    services = render("dev", LETTA_PG_URI="postgresql://elsewhere/letta")["services"]
    server, database = services[SERVER]["environment"], services["letta-db"]["environment"]

    assert server["LETTA_PG_URI"] == ""
    assert server["LETTA_PG_HOST"] == "letta-db"
    for part in ("DB", "USER", "PASSWORD"):
        assert server[f"LETTA_PG_{part}"] == database[f"POSTGRES_{part}"], part
    assert services["letta-db"]["networks"]["default"]["aliases"] == ["pgvector_db"]


def test_dev_starts_each_service_when_what_it_needs_is_healthy(render: Render) -> None:
    services = render("dev")["services"]

    for service, needs in {SERVER: {"letta-db", "letta-redis"}, "letta-nginx": {SERVER}}.items():
        conditions = {
            name: need["condition"] for name, need in services[service]["depends_on"].items()
        }
        assert conditions == dict.fromkeys(needs, "service_healthy"), service


def test_dev_logs_verbosely_and_single_does_not(render: Render) -> None:
    assert render("dev")["services"][SERVER]["environment"]["LETTA_DEBUG"] == "true"
    assert render("single")["services"][SERVER]["environment"]["LETTA_DEBUG"] is None


def test_hot_mounts_the_source_read_only_and_makes_no_directory_for_it(render: Render) -> None:
    server = render("hot", LETTA_STACK_SOURCE="/src", LETTA_STACK_USER="1000:1000")["services"][
        SERVER
    ]

    (mount,) = [one for one in server["volumes"] if one["target"].endswith("/site-packages/letta")]
    assert (mount["source"], mount["read_only"]) == ("/src/letta", True)
    assert mount["bind"].get("create_host_path", False) is False
    assert server["environment"]["LETTA_STACK_USER"] == "1000:1000"


def fragments_of(entry: Path, path: str) -> list[Path]:
    """Return the files that a path in an entry can mean: variables in it choose one of several."""
    pattern = re.sub(r"(\$\{[^}]*\})+", "*", path)
    return sorted(one.resolve() for one in entry.parent.glob(pattern))


def test_no_fragment_is_listed_twice_and_none_is_forgotten() -> None:
    listed: set[str] = set()
    for entry in [*ROOT.glob("*compose.yaml"), *ROOT.glob("compose/*.yaml")]:
        (include,) = yaml.safe_load(entry.read_text())["include"]
        paths = [str(one) for path in include["path"] for one in fragments_of(entry, path)]
        assert len(set(paths)) == len(paths), entry
        listed |= set(paths)
    fragments = {str(path) for path in ROOT.glob("compose/services/*.yaml")}

    # base.yaml is extended, not listed.
    assert fragments - listed == {str(ROOT / "compose/services/base.yaml")}


def test_a_certificate_turns_the_published_port_of_prod_to_https(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)
    (plain,) = published(render("prod"))
    store.write_gateway(store.directory("letta-stack-prod"), b"key and chain")
    secure, redirect = published(render("prod"))

    assert plain.url == "http://localhost:8283"
    assert secure.url == "https://localhost:8283"
    assert redirect.url == "http://localhost:8280"
    mounts = {one["target"] for one in render("prod")["services"]["letta-nginx"]["volumes"]}
    assert "/etc/letta-stack/tls" in mounts
