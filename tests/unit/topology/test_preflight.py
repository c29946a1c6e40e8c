from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest

from letta_stack.base import process
from letta_stack.engine import disk
from letta_stack.engine.inspect import Engine
from letta_stack.errors import BadDotenv, LowDisk, PortBusy, WrongArchitecture
from letta_stack.topology import preflight
from letta_stack.topology.runners.protocol import Published

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINE = Engine(
    version="26.1.5",
    containerd_store=True,
    architecture="amd64",
    root_dir="/",
    buildx="0.13.1",
    compose="2.26.1",
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# prose is fine here\nKEY=value\n",
        'KEY="value"\n',
        "KEY='va lue' # why\n",
        'KEY="first\nsecond"\nOTHER=1\n',
        "export KEY=value\n",
        "KEY=\n",
        "KEY=it's\n",
        "KEY=postgresql://u:p@h/db?x=1\r\n",
    ],
)
def test_a_dotenv_that_means_what_it_looks_like_passes(text: str) -> None:
    assert list(preflight.dotenv_problems(text)) == []


@pytest.mark.parametrize(
    ("text", "number", "says"),
    [
        ("A=1\nMy settings\n", 2, "not KEY=value"),
        ("KEY = sk-secret\n", 1, "spaces around ="),
        ("KEY=\u201csk-secret\u201d\n", 1, "typographic"),
        ('KEY="sk-secret\nOTHER=1\n', 1, "never closed"),
        ('KEY=sk-secret"\n', 1, "never opened"),
        ("KEY=\"'sk-secret'\"\n", 1, "quoted twice"),
        ('KEY="sk-"secret\n', 1, "text follows"),
    ],
)
def test_a_dotenv_line_that_would_surprise_is_named_without_its_value(
    text: str, number: int, says: str
) -> None:
    ((line, problem),) = preflight.dotenv_problems(text)

    assert line == number
    assert says in problem
    assert "secret" not in problem


def test_no_dotenv_is_no_problem(tmp_path: Path) -> None:
    preflight.dotenv(tmp_path / ".env")


def test_the_first_problem_of_a_dotenv_ends_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nB = 2\n")

    with pytest.raises(BadDotenv, match=r"^\.env:2: B has spaces"):
        preflight.dotenv(path)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


def on(listening: socket.socket) -> Published:
    return Published("letta-server", "127.0.0.1", listening.getsockname()[1])


def test_a_busy_port_names_the_process_that_holds_it(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "containers_on", lambda _: [])

    with pytest.raises(PortBusy, match=rf"in use by .* \(pid {os.getpid()}\); .* --port"):
        preflight.ports([on(listener)], "mine", {})


def test_a_busy_port_names_the_container_that_publishes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "containers_on", lambda _: [("web-1", "other")])

    with pytest.raises(PortBusy, match="published by container web-1"):
        preflight.ports([Published("letta-server", "", 8283)], "mine", {})


def test_a_busy_port_names_the_flag_that_takes_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "containers_on", lambda _: [("web-1", "other")])

    with pytest.raises(PortBusy, match=r"--pg-port N$"):
        preflight.ports([Published("letta-db", "", 5432)], "mine", {"letta-db": "--pg-port"})


def test_a_port_that_this_very_stack_holds_is_not_busy(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "containers_on", lambda _: [("mine-server-1", "mine")])

    preflight.ports([on(listener)], "mine", {})


def test_a_free_port_is_free(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "containers_on", lambda _: [])
    port = on(listener)
    listener.close()

    preflight.ports([port], "mine", {})


def test_only_listening_sockets_on_the_port_count() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:205B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1\n"
        "   1: 0100007F:205B 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 22 1\n"
        "   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 33 1\n"
    )

    assert preflight.listening_inodes(table, 8283) == {"11"}


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("free", "build", "enough"), [(2, False, True), (2, True, False), (0, False, False)]
)
def test_building_needs_more_room_than_running(
    free: int, build: bool, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free * disk.GIB))
    if enough:
        disk.check(ENGINE, build=build)
    else:
        with pytest.raises(LowDisk, match=f"{free}.0 GiB free in /"):
            disk.check(ENGINE, build=build)


def test_an_image_for_another_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "capture", lambda _: "arm64\n")

    with pytest.raises(WrongArchitecture, match="inv build --platform linux/amd64"):
        preflight.architecture("letta-stack/letta:0.16.8", ENGINE)
