"""What the user's flags come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base.paths import ROOT
from letta_stack.certs import store
from letta_stack.errors import BadValue
from letta_stack.topology.project import (
    DEBUG_OVERLAY,
    DEBUG_PORT_VARIABLE,
    INTERNAL_TLS_OVERLAY,
    MOST_REPLICAS,
    TLS_OVERLAY,
    Project,
)
from letta_stack.topology.runners.compose import Compose

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("flags", "variables"),
    [
        ({}, {}),
        ({"port": "1"}, {"LETTA_STACK_PORT": "1"}),
        ({"port": "65535"}, {"LETTA_STACK_PORT": "65535"}),
        ({"replicas": "1"}, {"LETTA_STACK_REPLICAS": "1"}),
        ({"replicas": "100"}, {"LETTA_STACK_REPLICAS": "100"}),
        ({"public": True}, {"LETTA_STACK_BIND": "0.0.0.0"}),
    ],
)
def test_a_flag_reaches_compose_as_a_variable(
    flags: dict[str, Any], variables: dict[str, str]
) -> None:
    assert Project.of("prod", **flags).variables == variables


def test_without_replicas_there_is_one_server() -> None:
    assert Project.of("prod").replicas == Project(Project.of("prod").topology, "p").replicas == 1
    assert Project.of("prod", replicas="3").replicas == 3
    assert Project.of("prod", replicas="3").expected["letta-server"] == 3
    assert int(Project.of("prod", replicas=str(MOST_REPLICAS)).replicas) == MOST_REPLICAS


@pytest.mark.parametrize("text", ["\u0665", "\u00b2"])
def test_digits_of_other_scripts_are_no_number_of_replicas(text: str) -> None:
    with pytest.raises(BadValue, match="is not a number of servers"):
        Project.of("prod", replicas=text)


@pytest.mark.parametrize("name", ["a", "9", "a-b_c9"])
def test_what_compose_takes_as_a_name_is_taken(name: str) -> None:
    assert Project.of("single", project=name).name == name


@pytest.mark.parametrize(
    ("env", "flags", "says"),
    [
        ("single", {"pg_port": "1"}, r"^--pg-port: single publishes nothing there; it has --port$"),
        ("services", {"port": "1"}, "it has --pg-port and --redis-port$"),
        ("services", {"redis_port": "0"}, "^--redis-port '0' is not a port"),
    ],
)
def test_a_port_flag_must_have_something_to_publish(
    env: str, flags: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadValue, match=says):
        Project.of(env, **flags)


def test_the_flags_that_mean_a_project_are_as_short_as_they_can_be() -> None:
    assert Project.of("dev").flags == "--env dev"
    assert Project.of("dev", project="mine").flags == "--env dev --project mine"
    assert Project.of("dev").port_flags == {"letta-nginx": "--port"}


def test_later_variables_win_and_the_others_stay() -> None:
    project = Project.of("dev", port="1").with_variables({"A": "1"}).with_variables({"A": "2"})

    assert project.variables == {"LETTA_STACK_PORT": "1", "A": "2"}


def test_a_model_without_a_number_of_servers_has_one() -> None:
    model: dict[str, Any] = {"services": {"letta-server": {}}}

    assert Project.of("prod", replicas="3").counted(model).replicas == 1
    assert Project.of("dev").counted(model) == Project.of("dev")


def test_a_certificate_brings_the_overlay_and_its_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)
    prod, dev = (Project.of(env, project="p", port="1") for env in ("prod", "dev"))
    plain = Compose("p", "compose.yaml", {"LETTA_STACK_PORT": "1"})
    assert prod.runner == plain

    certificate = tmp_path / "p" / store.GATEWAY
    certificate.parent.mkdir(parents=True)
    certificate.touch()

    assert prod.runner == Compose(
        "p", "compose.yaml", {**store.variables("p"), "LETTA_STACK_PORT": "1"}, (TLS_OVERLAY,)
    )
    assert dev.runner == Compose("p", "dev-compose.yaml", {"LETTA_STACK_PORT": "1"})
    overridden = prod.with_variables({"LETTA_STACK_TLS_UID": "7"}).runner
    assert isinstance(overridden, Compose)
    assert overridden.variables["LETTA_STACK_TLS_UID"] == "7"
    assert any("overlays/tls.yaml" in word for word in overridden.argv())


def test_certificates_between_the_services_and_a_debugger_bring_overlays_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)
    authority = tmp_path / "p" / store.INTERNAL / store.AUTHORITY
    authority.parent.mkdir(parents=True)
    authority.touch()
    internal = store.internal_variables("p")
    prod, hot = (Project.of(env, project="p") for env in ("prod", "hot"))

    assert prod.runner == Compose("p", "compose.yaml", internal, (INTERNAL_TLS_OVERLAY,))
    assert hot.runner == Compose("p", "compose/hot.yaml", {})
    port = {DEBUG_PORT_VARIABLE: "5678"}
    debugged = hot.with_variables(port)
    assert debugged.runner == Compose("p", "compose/hot.yaml", port, (DEBUG_OVERLAY,))
    assert debugged.port_flags == {"letta-nginx": "--port", "letta-server": "--debug-port"}
    for overlay in (INTERNAL_TLS_OVERLAY, DEBUG_OVERLAY, TLS_OVERLAY):
        assert (ROOT / overlay).is_file()
    assert f"${{{DEBUG_PORT_VARIABLE}" in (ROOT / DEBUG_OVERLAY).read_text()
