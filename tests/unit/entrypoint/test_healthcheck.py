"""The image's health check, against services that answer one way or another."""

from __future__ import annotations

import errno
import json
import socket
import threading
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from letta_stack.base.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAM = ROOT / "rootfs/usr/local/bin/letta-healthcheck"
GOOD = {
    "server": b"HTTP/1.1 200 OK\r\n\r\n",
    "postgres": b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0",
    "redis": b"-NOAUTH Authentication required.\r\n",
}


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], list[object]]]:
    """Return what starts a service with one answer to everything, and says where it is."""
    listeners: list[socket.socket] = []

    def serve(listener: socket.socket, answer: bytes) -> None:
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)
        except OSError:
            return  # closed: the test is over

    def start(answer: bytes) -> list[object]:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
        return ["localhost", listener.getsockname()[1]]

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def program(tmp_path: Path) -> ModuleType:
    """Return the program as a module, with a file of its own for the services."""
    program = ModuleType("healthcheck")
    # Not imported: that would leave bytecode in the tree of the image.
    exec(compile(PROGRAM.read_text(), PROGRAM, "exec"), program.__dict__)
    vars(program)["BACKENDS"] = str(tmp_path / "backends.json")
    return program


@pytest.fixture
def check(tmp_path: Path, program: ModuleType) -> Callable[..., list[str]]:
    """Return what asks these services, and returns what is wrong."""

    def run(**backends: object) -> list[str]:
        if backends:
            known = {**backends, "credentials": ["letta", "letta"], "authorities": {}}
            (tmp_path / "backends.json").write_text(json.dumps(known))
        found: list[str] = program.problems()
        return found

    return run


def test_three_services_that_answer_are_healthy(
    answering: Callable[[bytes], list[object]], check: Callable[..., list[str]]
) -> None:
    assert check(**{name: answering(answer) for name, answer in GOOD.items()}) == []


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("server", b"HTTP/1.1 503 Service Unavailable\r\n\r\n"),
        ("postgres", b"E\0\0\0\x20SFATAL\0C57P03\0Mstarting up\0\0"),
        ("redis", b"-LOADING Redis is loading the dataset in memory\r\n"),
        ("redis", b""),
    ],
)
def test_the_one_that_answers_wrongly_is_named(
    name: str,
    answer: bytes,
    answering: Callable[[bytes], list[object]],
    check: Callable[..., list[str]],
) -> None:
    answers = {**GOOD, name: answer}

    found = check(**{name: answering(answer) for name, answer in answers.items()})

    assert found == [f"{name} answers {answer!r}"]


def test_the_one_that_does_not_answer_is_named(
    answering: Callable[[bytes], list[object]], check: Callable[..., list[str]]
) -> None:
    services = {name: answering(answer) for name, answer in GOOD.items()}
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]

    found = check(**{**services, "postgres": ["127.0.0.1", nobody]})

    assert found == [f"postgres: [Errno {errno.ECONNREFUSED}] Connection refused"]


def test_before_there_are_services_the_container_is_still_starting(
    check: Callable[..., list[str]],
) -> None:
    assert check() == ["the container is still starting"]


def test_a_check_waits_for_a_server_that_does_not_listen_yet(
    program: ModuleType, tmp_path: Path
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = ["127.0.0.1", server.getsockname()[1]]
        (tmp_path / "backends.json").write_text(json.dumps({"server": address}))
        vars(program)["STARTING"] = 30.0
        threading.Timer(0.3, server.listen).start()

        program.wait_while_it_starts()

        assert program.listens()


def test_a_check_does_not_wait_for_ever(program: ModuleType, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    (tmp_path / "backends.json").write_text(json.dumps({"server": ["127.0.0.1", nobody]}))
    vars(program)["STARTING"] = 0.2

    program.wait_while_it_starts()

    assert not program.listens()
