"""What the user reads once a topology is up, or could not be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from python_on_whales import docker
from python_on_whales.exceptions import NoSuchContainer

from letta_stack.certs import store
from letta_stack.topology import report
from letta_stack.topology.project import DEBUG_PORT_VARIABLE, Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import Published, State

if TYPE_CHECKING:
    from pathlib import Path

PROD = Project.of("prod", project="mine")
MODEL: dict[str, Any] = {"services": {"letta-server": {"environment": {}}}}
SERVER = State("letta-server", "mine-letta-server-1", "running", "unhealthy", 0)


def test_the_last_words_are_told_of_those_that_do_not_work_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = [
        SERVER,
        State("letta-redis", "r", "running", "healthy", 0),
        State("letta-migrate", "m", "exited", "", 0),
        State("letta-db", "d", "exited", "", 0),
    ]
    monkeypatch.setattr(Compose, "states", lambda _: states)
    monkeypatch.setattr(report, "last_words", lambda state: state.service)

    error = report.failure(PROD, "why")

    assert capsys.readouterr().err.split() == ["letta-server", "letta-db"]
    assert str(error).startswith("why; the containers are left for a look: `inv logs --env prod")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The health checks of a container whose log has two lines."""
    checks: list[SimpleNamespace] = []
    health = SimpleNamespace(log=checks)
    container = SimpleNamespace(state=SimpleNamespace(health=health))

    def logs(of: object, *, tail: int) -> str:
        assert of is container
        return f"{tail} lines\nthe end\n\n"

    monkeypatch.setattr(
        docker.container, "inspect", lambda name: {SERVER.container: container}[name]
    )
    monkeypatch.setattr(docker.container, "logs", logs)
    return checks


def test_last_words_are_the_last_health_check_and_the_end_of_the_log(
    log: list[SimpleNamespace],
) -> None:
    log += [SimpleNamespace(output="earlier"), SimpleNamespace(output="noise\nrefused\n")]

    assert report.last_words(SERVER).splitlines() == [
        "--- letta-server unhealthy",
        "last health check: refused",
        "last 25 log lines:",
        "25 lines",
        "the end",
    ]


@pytest.mark.parametrize("output", [None, "", " \n"])
def test_a_health_check_that_said_nothing_is_left_out(
    output: str | None, log: list[SimpleNamespace]
) -> None:
    assert "health check" not in report.last_words(SERVER)
    log += [SimpleNamespace(output=output)]
    assert "health check" not in report.last_words(SERVER)


def test_a_container_without_a_health_check_has_last_words_too(
    log: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = SimpleNamespace(state=SimpleNamespace(health=None))
    monkeypatch.setattr(docker.container, "inspect", lambda _: bare)
    monkeypatch.setattr(docker.container, "logs", lambda *_, **__: "bye")

    assert report.last_words(SERVER).splitlines()[1:] == ["last 25 log lines:", "bye"]


def test_a_container_that_is_gone_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: str) -> None:
        raise NoSuchContainer(["docker"], 1, b"", b"")

    monkeypatch.setattr(docker.container, "inspect", gone)

    assert report.last_words(SERVER).startswith("--- letta-server unhealthy; somebody has removed")


@pytest.mark.parametrize(
    ("service", "state", "code", "told"),
    [
        ("letta-server", "exited", 71, True),
        ("letta-server", "running", 71, False),
        ("letta-server", "exited", 1, False),
        ("letta-db", "exited", 71, False),
    ],
)
def test_only_the_servers_exit_codes_have_a_meaning(
    service: str, state: str, code: int, told: bool
) -> None:
    assert bool(report.meaning(State(service, "c", state, "", code))) is told


def test_secret_files_are_shown_by_inv() -> None:
    text = report.success(PROD, Published("letta-nginx", "", 80), "c", MODEL)

    password = "inv secrets.show server-password --env prod --project mine"
    assert text.splitlines()[:3] == [
        "the API is at http://localhost:80",
        f"  password: {password}",
        f'  try:      curl -H "Authorization: Bearer $({password})" http://localhost:80/v1/agents/',
    ]


def test_a_local_authority_is_what_curl_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)
    secure = Published("letta-nginx", "", 443, "https")
    plain = Published("letta-nginx", "", 80)

    assert "--cacert" not in report.success(PROD, secure, "c", MODEL)
    authority = tmp_path / "mine" / store.AUTHORITY
    authority.parent.mkdir()
    authority.touch()
    assert f"curl --cacert {authority} -H" in report.success(PROD, secure, "c", MODEL)
    assert "--cacert" not in report.success(PROD, plain, "c", MODEL)


def test_data_services_are_told_as_variables_for_the_shell() -> None:
    lines = report.data_services(Project.of("services"), "export A=1").splitlines()

    assert lines[0] == "export A=1"
    assert 'eval "$(inv env --env services)"' in lines[1]
    assert lines[3].endswith("inv down --env services   (keeps the data)")


def test_what_the_gateway_asks_of_clients_is_in_the_example() -> None:
    gateway = {"LETTA_STACK_BASE_PATH": "/letta/", "LETTA_STACK_CLIENT_CA": "ca.pem"}
    model = {"services": {**MODEL["services"], "letta-nginx": {"environment": gateway}}}

    text = report.success(PROD, Published("letta-nginx", "", 443, "https"), "c", model)

    assert "the API is at https://localhost:443/letta\n" in text
    assert "curl --cert YOUR.pem -H" in text
    assert "https://localhost:443/letta/v1/agents/" in text


def test_a_debugger_is_told_where_to_attach() -> None:
    hot = Project.of("hot")
    address = Published("letta-nginx", "", 80)

    assert "debugger" not in report.success(hot, address, "c", MODEL)
    debugged = hot.with_variables({DEBUG_PORT_VARIABLE: "5678"})
    assert "  debugger: attach to localhost:5678" in report.success(debugged, address, "c", MODEL)
