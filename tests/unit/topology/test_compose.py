from __future__ import annotations

import json
import re

import pytest

from letta_stack.base.paths import ROOT
from letta_stack.errors import BadValue
from letta_stack.topology.catalogue import TOPOLOGIES
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose, parse_states
from letta_stack.topology.runners.protocol import Published, State, published, summarise


def inspected(state: dict[str, object]) -> dict[str, object]:
    labels = {"com.docker.compose.service": "letta-server"}
    return {"Name": "/p-letta-server-1", "Config": {"Labels": labels}, "State": state}


def state(state: str = "running", health: str = "", exit_code: int = 0) -> State:
    return State("letta-db", "p-letta-db-1", state, health, exit_code)


def test_every_topology_has_its_entry_file_and_a_published_service() -> None:
    for topology in TOPOLOGIES.values():
        assert (ROOT / topology.entry).is_file()
        assert topology.published in (*topology.names, "")


def test_a_compose_command_names_project_file_and_arguments() -> None:
    argv = Compose("mine", "dev-compose.yaml", {}).argv("ps", "--all")

    assert argv[:6] == [
        "docker",
        "compose",
        "--project-name",
        "mine",
        "--file",
        str(ROOT / "dev-compose.yaml"),
    ]
    assert argv[-2:] == ["ps", "--all"]


def test_the_port_reaches_compose_as_a_variable() -> None:
    assert Project.of("single", port="9000").variables == {"LETTA_STACK_PORT": "9000"}


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "80a", "8.3", "\u0665"])
def test_what_is_not_a_port_is_refused(port: str) -> None:
    with pytest.raises(BadValue, match="number from 1 to 65535"):
        Project.of("single", port=port)


@pytest.mark.parametrize("project", ["Mine", "-a", "a b", "a.b", "\u00e4"])
def test_what_compose_would_refuse_as_a_project_is_refused_first(project: str) -> None:
    with pytest.raises(BadValue, match="lower-case"):
        Project.of("single", project=project)


def test_an_unknown_topology_lists_the_known_ones() -> None:
    with pytest.raises(BadValue, match="use one of: single, dev"):
        Project.of("production")


def test_states_are_read_from_the_engines_own_description() -> None:
    with_health = {"Status": "running", "ExitCode": 0, "Health": {"Status": "healthy", "Log": []}}
    without = {"Status": "exited", "ExitCode": 3}

    assert parse_states(json.dumps([inspected(with_health), inspected(without)])) == [
        State("letta-server", "p-letta-server-1", "running", "healthy", 0),
        State("letta-server", "p-letta-server-1", "exited", "", 3),
    ]


@pytest.mark.parametrize(
    ("given", "ready", "failed"),
    [
        (state("running", "healthy"), True, False),
        (state("running", ""), True, False),
        (state("running", "starting"), False, False),
        (state("created"), False, False),
        (state("running", "unhealthy"), False, True),
        (state("exited", exit_code=0), False, True),
        (state("restarting", exit_code=1), False, True),
        (state("dead", exit_code=1), False, True),
        (state("paused", "healthy"), False, False),
    ],
    ids=lambda value: str(value) if isinstance(value, State) else None,
)
def test_a_state_is_ready_failed_or_worth_waiting_for(
    given: State, ready: bool, failed: bool
) -> None:
    assert (given.ready, given.failed) == (ready, failed)


@pytest.mark.parametrize(
    ("given", "ended"),
    [
        (state("exited"), True),
        (state("exited", exit_code=1), False),
        (state("running"), False),
        (state("dead"), False),
    ],
)
def test_only_an_exit_with_code_0_is_a_good_end(given: State, ended: bool) -> None:
    assert given.ended_well is ended


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (state("running"), "letta-db running"),
        (state("running", "starting"), "letta-db starting"),
        (state("exited", "unhealthy", 3), "letta-db exited with code 3"),
        (state("dead", exit_code=1), "letta-db dead with code 1"),
    ],
)
def test_a_state_says_what_is_known_of_the_service(given: State, text: str) -> None:
    assert str(given) == text


def test_the_summary_says_what_is_the_same_once() -> None:
    states = [state("running", "healthy"), state("running", "healthy"), state("exited")]

    assert summarise(states, {"letta-db": 3}) == "letta-db healthy, letta-db exited with code 0"


def test_the_summary_names_services_without_a_container_too() -> None:
    states = [state("running", "starting")]

    assert summarise(states, {"letta-db": 1, "letta-nginx": 1}) == (
        "letta-db starting, letta-nginx not created"
    )


def test_published_ports_are_read_from_the_rendered_configuration() -> None:
    config = {
        "services": {
            "a": {"ports": [{"host_ip": "127.0.0.1", "published": "8283", "target": 8283}]},
            "b": {"ports": [{"target": 5432}]},
            "c": {},
        }
    }

    assert published(config) == [Published("a", "127.0.0.1", 8283)]
    assert published({"services": {"a": {"ports": None}}}) == []


@pytest.mark.parametrize("port", [1, 65535])
def test_every_address_and_the_ports_at_both_ends_can_be_published(port: int) -> None:
    model = {"services": {"a": {"ports": [{"target": 8443, "published": str(port)}]}}}

    (found,) = published(model)
    assert found == Published("a", "", port, "https")
    assert found.url == f"https://localhost:{port}"


def test_an_address_is_written_as_the_standard_says() -> None:
    port = {"target": 1, "published": "80", "host_ip": "FD00:0::5"}

    assert published({"services": {"a": {"ports": [port]}}}) == [Published("a", "fd00::5", 80)]


@pytest.mark.parametrize(
    ("port", "says"),
    [
        ({"published": "8283-8290"}, "port '8283-8290'; give one number"),
        ({"published": "http"}, "port 'http'; give one number"),
        ({"published": "70000"}, "port '70000'; give one number"),
        ({"published": "65536"}, "port '65536'; give one number"),
        ({"published": "00"}, "port '00'; give one number"),
        ({"published": "\u00b2"}, "; give one number"),
        ({"published": "8283", "host_ip": "localhost"}, "address 'localhost'; give an IP address"),
        ({"published": "8283", "host_ip": "[::1]"}, "for instance 127.0.0.1, ::1 or"),
    ],
)
def test_what_cannot_be_published_is_told_in_one_line(port: dict[str, str], says: str) -> None:
    with pytest.raises(BadValue, match=re.escape(says)) as raised:
        published({"services": {"a": {"ports": [port]}}})

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", "http://localhost:80"),
        ("0.0.0.0", "http://localhost:80"),
        ("", "http://localhost:80"),
        ("10.0.0.5", "http://10.0.0.5:80"),
        ("::1", "http://[::1]:80"),
        ("::", "http://[::1]:80"),
        ("fd00::5", "http://[fd00::5]:80"),
    ],
)
def test_a_published_port_has_an_address_that_works_on_this_machine(address: str, url: str) -> None:
    assert Published("a", address, 80).url == url
