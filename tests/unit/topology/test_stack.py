from __future__ import annotations

import io
from typing import Any

import pytest

from letta_stack.base import http_wait, process
from letta_stack.base.process import Completed
from letta_stack.engine import disk, inspect
from letta_stack.engine.inspect import Engine
from letta_stack.errors import BadValue, InterruptedByUser, NotConfirmed, NotRunning, ServiceFailed
from letta_stack.image.sources import Sources
from letta_stack.topology import dotenv, inputs, lifecycle, preflight, report
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import Published, State

ADDRESS = Published("letta-server", "127.0.0.1", 8283)
SINGLE = Project.of("single", project="mine")
SOURCES = Sources(images="auto", otelcol="auto", letta_source=None, ca=None)


def server(state: str = "running", health: str = "healthy", exit_code: int = 0) -> State:
    return State("letta-server", "mine-letta-server-1", state, health, exit_code)


def model(environment: dict[str, str | None], **gateway: str | None) -> dict[str, Any]:
    services = {"letta-server": {"environment": environment}}
    return {"services": services | {"letta-nginx": {"environment": gateway or None}}}


def test_the_last_lines_shows_how_to_read_the_generated_password() -> None:
    text = report.success(
        SINGLE, ADDRESS, "mine-letta-server-1", model({"LETTA_SERVER_PASSWORD": None})
    )

    assert "the API is at http://localhost:8283" in text
    assert "docker exec mine-letta-server-1 cat /var/lib/letta/secrets/server-password" in text
    assert "inv down --env single --project mine" in text


def test_the_last_lines_never_repeats_a_password_that_the_user_gave() -> None:
    text = report.success(SINGLE, ADDRESS, "c", model({"LETTA_SERVER_PASSWORD": "hunter2"}))

    assert "hunter2" not in text
    assert "$LETTA_SERVER_PASSWORD" in text


def test_the_last_lines_says_when_there_is_no_password() -> None:
    text = report.success(SINGLE, ADDRESS, "c", model({"LETTA_SERVER_SECURE": "False"}))

    assert "none: LETTA_SERVER_SECURE=false" in text
    assert "Authorization" not in text


@pytest.mark.parametrize("text", ["/letta", "/letta/"])
def test_the_last_lines_have_the_base_path_that_clients_use(
    checked: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
) -> None:
    config = Compose.config(Compose("mine", "", {}))
    config["services"]["letta-nginx"] = {"environment": {"LETTA_STACK_BASE_PATH": text}}
    monkeypatch.setattr(Sources, "prepare", lambda *_, **__: {})

    lifecycle.up(SINGLE, SOURCES)

    said = capsys.readouterr().out
    assert "the API is at http://localhost:8283/letta\n" in said
    assert " http://localhost:8283/letta/v1/agents/\n" in said


def test_the_last_lines_ask_for_a_certificate_where_the_gateway_does() -> None:
    asking = model({}, LETTA_STACK_CLIENT_CA="ca.pem")

    assert " --cert YOUR.pem " in report.success(SINGLE, ADDRESS, "c", asking)
    assert "--cert" not in report.success(SINGLE, ADDRESS, "c", model({}))


def test_a_service_that_broke_ends_the_wait_at_once_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Compose, "states", lambda _: [server("restarting", "", 71)])
    monkeypatch.setattr(report, "last_words", lambda state: f"last words of {state}")

    with pytest.raises(ServiceFailed, match="letta-server restarting with code 71"):
        lifecycle.wait_ready(SINGLE)

    assert "last words of letta-server restarting with code 71" in capsys.readouterr().err


def test_a_service_without_a_container_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Compose, "states", lambda _: [])

    assert lifecycle.ready(SINGLE) is False


def test_success_of_compose_is_not_believed_while_a_service_is_unhealthy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "probe", lambda *_, **__: Completed(0, "", ""))
    monkeypatch.setattr(Compose, "states", lambda _: [server(health="unhealthy")])
    monkeypatch.setattr(report, "last_words", str)

    with pytest.raises(ServiceFailed, match="letta-server unhealthy"):
        lifecycle.start(SINGLE)


def test_what_compose_says_last_is_the_reason_when_it_cannot_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        process, "probe", lambda *_, **__: Completed(1, "", "noise\nno such image\n")
    )
    monkeypatch.setattr(Compose, "states", lambda _: [])

    with pytest.raises(ServiceFailed, match="could not start mine: no such image"):
        lifecycle.start(SINGLE)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace everything that `up` asks, and record the order."""
    order: list[str] = []
    usable = Engine("26.1.5", True, "amd64", "/", "0.13.1", "2.26.1")  # noqa: FBT003 - positional record
    config = {
        "services": {
            "letta-server": {
                "image": "letta-stack/letta:1",
                "environment": {},
                "ports": [{"host_ip": "127.0.0.1", "published": "8283", "target": 8283}],
            }
        }
    }

    def require() -> Engine:
        order.append("engine")
        return usable

    monkeypatch.setattr(inspect, "require", require)
    monkeypatch.setattr(Compose, "config", lambda _: config)
    monkeypatch.setattr(Compose, "states", lambda _: [server()])
    monkeypatch.setattr(dotenv, "check", lambda *_: order.append("dotenv"))
    monkeypatch.setattr(inputs, "runs", lambda *_: True)
    for name in ("ports", "architecture"):
        monkeypatch.setattr(preflight, name, lambda *_, name=name, **__: order.append(name))
    monkeypatch.setattr(disk, "check", lambda *_, **__: order.append("disk"))
    monkeypatch.setattr(lifecycle, "start", lambda _: order.append("start"))
    monkeypatch.setattr(http_wait, "wait_for_status", lambda *_, **__: order.append("answer"))
    return order


def test_everything_is_checked_before_anything_is_built_or_started(
    checked: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*_: object, **__: object) -> dict[str, str]:
        checked.append("prepare")
        return {}

    monkeypatch.setattr(Sources, "prepare", prepare)
    lifecycle.up(SINGLE, SOURCES)

    assert checked == [
        *("engine", "dotenv", "ports", "disk"),
        *("prepare", "architecture", "start", "answer"),
    ]
    assert "the API is at http://localhost:8283" in capsys.readouterr().out


def test_a_setting_that_cannot_work_gets_a_warning(
    checked: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Compose("mine", "", {}).config()
    config["services"]["letta-server"]["environment"] = {"OLLAMA_BASE_URL": "http://localhost:1"}
    monkeypatch.setattr(Compose, "config", lambda _: config)
    monkeypatch.setattr(Sources, "prepare", lambda *_, **__: {})

    lifecycle.up(SINGLE, SOURCES)

    assert "warning: OLLAMA_BASE_URL names localhost" in capsys.readouterr().err


def test_the_exit_code_of_a_start_that_failed_is_explained() -> None:
    refused = server("restarting", "", 71)

    assert report.meaning(refused) == ": an environment variable has a value that it cannot have."
    assert report.meaning(server("exited", "", 137)) == ""
    assert report.meaning(server()) == ""


def test_an_interrupted_up_says_what_is_left_and_how_to_go_on(
    checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*_: object, **__: object) -> dict[str, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Sources, "prepare", prepare)
    with pytest.raises(InterruptedByUser, match="`inv up --env single --project mine` goes on"):
        lifecycle.up(SINGLE, SOURCES)

    assert "start" not in checked


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    done: list[list[str]] = []
    monkeypatch.setattr(process, "capture", lambda _: "mine_letta\n")
    monkeypatch.setattr(process, "run", lambda argv, **_: done.append(argv))
    monkeypatch.setattr(process, "probe", lambda argv, **_: done.append(argv))

    def call(argv: list[str], **_: object) -> int:
        done.append(argv)
        return 0

    monkeypatch.setattr(process, "call", call)
    return done


def test_down_keeps_the_data(commands: list[list[str]]) -> None:
    lifecycle.down(SINGLE, volumes=False, yes=False)

    assert commands[0][-2:] == ["down", "--remove-orphans"]


def test_data_is_not_deleted_when_nobody_can_be_asked(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))

    with pytest.raises(NotConfirmed, match=r"delete the data in mine_letta.*--yes"):
        lifecycle.down(SINGLE, volumes=True, yes=False)

    assert commands == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "deleted"), [("y", True), ("yes", True), ("", False), ("n", False)]
)
def test_on_a_terminal_only_a_yes_deletes_data(
    answer: str, deleted: bool, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    if deleted:
        lifecycle.down(SINGLE, volumes=True, yes=False)
    else:
        with pytest.raises(NotConfirmed, match="nothing was deleted"):
            lifecycle.down(SINGLE, volumes=True, yes=False)

    assert bool(commands) is deleted


def test_yes_deletes_data_without_asking(commands: list[list[str]]) -> None:
    lifecycle.down(SINGLE, volumes=True, yes=True)

    assert commands[0][-1] == "--volumes"


def test_exec_needs_a_command_and_a_running_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Compose, "states", lambda _: [])

    with pytest.raises(BadValue, match="after --"):
        lifecycle.execute(SINGLE, service="", command=[])
    with pytest.raises(NotRunning, match="inv up --env single"):
        lifecycle.execute(SINGLE, service="", command=["id"])


def test_exec_runs_in_the_server_unless_told_otherwise(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compose, "states", lambda _: [server()])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    lifecycle.execute(SINGLE, service="", command=["psql", "-c", "select 1"])

    assert commands[0][-6:] == ["exec", "--no-TTY", "letta-server", "psql", "-c", "select 1"]


def test_restart_refuses_a_service_that_the_topology_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Compose, "states", lambda _: [server()])

    with pytest.raises(
        BadValue, match="--service 'nginx' is not in single; use one of: letta-server"
    ):
        lifecycle.restart(SINGLE, service="nginx")
