from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from letta_stack.base import flags
from letta_stack.base.paths import ROOT
from letta_stack.cli.task import leave
from letta_stack.errors import BadValue

INV = str(Path(sys.executable).with_name("inv"))


def inv(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([INV, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def modules_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(ended.stdout.split())


def test_the_scheduled_backup_needs_nothing_that_its_image_lacks() -> None:
    # requirements/backup.txt is all that it has; the grammars are what `inv lint` reads with.
    modules = modules_after("import letta_stack.operate.scheduled")

    assert modules.isdisjoint({"invoke", "packaging", "promql_parser", "requests", "yaml"})


def test_listing_the_tasks_imports_nothing_but_invoke_and_this_projects_errors() -> None:
    extra = modules_after("import tasks") - modules_after(
        "from __future__ import annotations; import invoke.main"
    )

    ours = {name for name in extra if name.startswith("letta_stack")}

    assert extra - ours == {"tasks"}
    assert {name.split(".")[1] for name in ours if "." in name} == {"cli", "errors"}


def test_listing_the_tasks_costs_little_more_than_invoke_itself(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from invoke.tasks import task\n\n@task\ndef one(_): ...\n")

    def seconds(cwd: Path) -> float:
        # Of the processor: what else the machine does is not the tasks' cost.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([INV, "--list"], cwd=cwd, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    pairs = [(seconds(tmp_path), seconds(ROOT)) for _ in range(5)]
    bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))

    assert ours - bare < 0.15


def test_every_task_says_in_one_line_what_it_does() -> None:
    listing = json.loads(inv("--list", "--list-format=json").stdout)

    assert {
        task["name"]: len(task["help"] or "")
        for task in listing["tasks"]
        if not 0 < len(task["help"] or "") <= 72
    } == {}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["up", "--env", "nowhere"],
            4,
            "--env 'nowhere' is not a topology; use one of: single, dev",
        ),
        (["up", "--port", "x"], 4, "--port 'x' is not a port"),
        (["down", "--project", "No"], 4, "--project 'No'"),
        (["logs", "--tail", "some"], 4, "--tail 'some'"),
        (["wait", "http://localhost/", "--timeout", "soon"], 4, "--timeout 'soon'"),
        (["wait", "localhost"], 4, "not an HTTP URL"),
        (["notes", "--image", "ghcr.io/me/letta:0.16.8"], 53, "has no digest"),
    ],
)
def test_bad_input_is_one_line_with_a_code_and_no_traceback(
    arguments: list[str], code: int, says: str
) -> None:
    ended = inv(*arguments)

    assert ended.returncode == code
    assert ended.stderr.startswith("error: ")
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_wait_ends_with_the_code_of_its_command_and_keeps_its_quoting(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler); print(s.server_port, flush=True); s.serve_forever()",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
        ended = inv(
            "wait", url, "--timeout", "10", "--", "sh", "-c", 'echo "$1"; exit 7', "x", "a  b"
        )
        server.terminate()

    assert (ended.returncode, ended.stdout) == (7, "a  b\n")


def test_wait_that_times_out_says_what_it_last_saw() -> None:
    ended = inv("wait", "http://127.0.0.1:9/", "--timeout", "0.3")

    assert ended.returncode == 42
    assert "last seen: connection refused" in ended.stderr


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "soon"])
def test_seconds_are_a_number_above_zero(text: str) -> None:
    with pytest.raises(BadValue, match="--timeout"):
        flags.seconds("--timeout", text)


@pytest.mark.parametrize("text", ["99", "600", "-200", "ok", "2.0"])
def test_a_status_is_one_that_http_knows(text: str) -> None:
    with pytest.raises(BadValue, match="--status"):
        flags.status_code("--status", text)


def test_a_choice_lists_what_there_is() -> None:
    with pytest.raises(
        BadValue, match="--images 'moon' is not known; use one of: hub, debian, auto"
    ):
        flags.choice("--images", "moon", ("hub", "debian", "auto"))


@pytest.mark.parametrize(
    ("argv", "command"),
    [(["inv", "wait"], []), (["inv", "wait", "--", "a", "--", "b c"], ["a", "--", "b c"])],
)
def test_a_command_is_what_follows_the_first_dashes(argv: list[str], command: list[str]) -> None:
    assert flags.command(argv) == command


@pytest.mark.parametrize(("ended", "code"), [(3, 3), (137, 137), (-9, 137), (-2, 130)])
def test_a_command_that_a_signal_ended_leaves_as_in_a_shell(ended: int, code: int) -> None:
    with pytest.raises(Exit) as raised:
        leave(ended)

    assert raised.value.code == code
