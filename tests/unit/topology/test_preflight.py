from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest

from letta_stack.base import process
from letta_stack.certs import make, store
from letta_stack.engine import disk
from letta_stack.engine.inspect import Engine
from letta_stack.errors import BadCertificate, LowDisk, PortBusy, WrongArchitecture
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
    ("name", "value", "host"),
    [
        ("OLLAMA_BASE_URL", "http://localhost:11434", "localhost"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1", "127.0.0.1"),
        ("VLLM_API_BASE", "http://[::1]:8000/v1", "::1"),
        ("LETTA_PG_URI", "postgresql://me:secret@localhost/letta", "localhost"),
        ("LETTA_REDIS_HOST", "127.0.0.1", "127.0.0.1"),
        ("LETTA_REDIS_HOST", "[::1]", "::1"),
        ("LETTA_PG_HOST", "LocalHost", "LocalHost"),
    ],
)
def test_a_setting_that_names_the_container_itself_gets_a_warning(
    name: str, value: str, host: str
) -> None:
    (warning,) = preflight.loopback_settings({"OPENAI_API_KEY": None, name: value})

    assert warning.startswith(f"{name} names {host}, which inside the container is the container")
    assert "write host.docker.internal" in warning
    assert "secret" not in warning


@pytest.mark.parametrize(
    "value",
    [
        "http://host.docker.internal:11434",
        "http://10.0.0.5",
        "localhost",
        "http://[",
        "",
        "unix:///run/localhost",
    ],
)
def test_other_settings_get_none(value: str) -> None:
    assert preflight.loopback_settings({"OLLAMA_BASE_URL": value}) == []


@pytest.mark.parametrize(
    ("name", "value", "host"),
    [
        ("LETTA_PG_HOST", "db", "db"),
        ("LETTA_PG_HOST", "[fd00::1]", "fd00::1"),
        ("LETTA_PG_HOST", "", ""),
        ("OLLAMA_BASE_URL", "http://Gpu:1", "gpu"),
        ("OLLAMA_BASE_URL", "gpu", ""),
        ("OLLAMA_BASE_URL", "http://", ""),
        ("OLLAMA_BASE_URL", "http://[", ""),
        ("OLLAMA_BASE_URL", "unix:///run/x", ""),
    ],
)
def test_the_host_of_a_setting(name: str, value: str, host: str) -> None:
    assert preflight.host_of(name, value) == host


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


def test_the_containers_on_a_port_are_asked_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def capture(argv: list[str]) -> str:
        asked.append(argv)
        return "web-1\tother\nplain\t\n"

    monkeypatch.setattr(process, "capture", capture)

    assert preflight.containers_on(8283) == [("web-1", "other"), ("plain", "")]
    (argv,) = asked
    assert argv[:-1] == ["docker", "ps", "--filter", "publish=8283/tcp", "--format"]
    assert argv[-1] == '{{.Names}}\t{{.Label "com.docker.compose.project"}}'


@pytest.mark.parametrize("address", ["127.0.0.1", "", "0.0.0.0"])
def test_a_port_is_busy_on_every_address_as_well(address: str, listener: socket.socket) -> None:
    port = Published("letta-server", address, listener.getsockname()[1])

    assert preflight.is_busy(port) is True
    listener.close()
    assert preflight.is_busy(port) is False


def test_an_ipv6_port_is_busy_too() -> None:
    with socket.socket(socket.AF_INET6) as listening:
        listening.bind(("::1", 0))
        listening.listen()
        port = Published("letta-server", "::1", listening.getsockname()[1])

        assert preflight.is_busy(port) is True
    assert preflight.is_busy(port) is False


@pytest.mark.parametrize(("error", "busy"), [(PermissionError, False), (OSError, True)])
def test_a_port_that_is_not_ours_to_take_may_be_the_engines(
    error: type[OSError], busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(socket.socket):
        def bind(self, address: object, /) -> None:
            raise error(str(address))

    monkeypatch.setattr(socket, "socket", Refused)

    assert preflight.is_busy(Published("letta-server", "", 80)) is busy


def test_a_port_whose_last_connections_have_just_ended_is_free() -> None:
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = listening.getsockname()
        with socket.create_connection(address) as client:
            accepted, _ = listening.accept()
            accepted.close()  # this end waits now: TIME_WAIT
            assert client.recv(1) == b""

    assert preflight.is_busy(Published("letta-server", *address)) is False


def proc(directory: Path, *, owner: str = "socket:[11]") -> Path:
    """Make a /proc where process 7 has a log and perhaps the socket, and 8 cannot be looked into."""
    for name in ("net", "7/fd", "8", "self/fd"):
        (directory / name).mkdir(parents=True)
    row = "0: 00000000000000000000000000000000:205B 0:0000 0A 0 0 0 0 0 11 1"
    (directory / "net/tcp6").write_text(f"header\n{row}\n")
    (directory / "7/fd/1").symlink_to("/var/log/x")
    (directory / "7/fd/3").symlink_to(owner)
    (directory / "7/fd/4").touch()  # what was closed meanwhile is no link
    (directory / "self/fd/3").symlink_to("socket:[11]")
    (directory / "7/comm").write_text("nginx\n")
    return directory


def test_the_owner_of_a_port_is_found_by_its_socket(tmp_path: Path) -> None:
    assert preflight.owner_of(8283, proc(tmp_path)) == "nginx (pid 7)"
    assert preflight.owner_of(8284, tmp_path) == "a process that only root can see"


def test_an_owner_whose_sockets_nobody_may_see_is_not_guessed(tmp_path: Path) -> None:
    assert preflight.owner_of(8283, proc(tmp_path, owner="socket:[12]")).startswith("a process")


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
    asked: list[list[str]] = []

    def capture(argv: list[str]) -> str:
        asked.append(argv)
        return f"{made_for}\n"

    monkeypatch.setattr(process, "capture", capture)
    made_for = "amd64"
    preflight.architecture("letta-stack/letta:0.16.8", ENGINE)
    format_ = ["--format", "{{.Architecture}}"]
    assert asked == [["docker", "image", "inspect", *format_, "letta-stack/letta:0.16.8"]]

    made_for = "arm64"
    with pytest.raises(WrongArchitecture, match="inv build --platform linux/amd64"):
        preflight.architecture("letta-stack/letta:0.16.8", ENGINE)


def test_a_certificate_that_has_ended_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)
    preflight.certificate("p")  # none is no error: the gateway speaks plain HTTP then
    now = dt.datetime.now(tz=dt.UTC)

    make.make(tmp_path / "p", [], days=90, force=False, now=now, say=print)
    preflight.certificate("p")
    earlier = now - dt.timedelta(days=100)
    make.make(tmp_path / "p", [], days=90, force=True, now=earlier, say=print)
    with pytest.raises(BadCertificate, match=r"gateway\.pem ended .* `inv certs\.make`"):
        preflight.certificate("p")


def test_a_certificate_inside_that_has_ended_is_refused_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)
    now = dt.datetime.now(tz=dt.UTC)

    make.internal(tmp_path / "p", days=90, force=False, now=now, say=print)
    preflight.certificate("p")
    (tmp_path / "p/internal/redis/redis.pem").unlink()
    with pytest.raises(BadCertificate, match=r"redis\.pem holds no PEM certificate"):
        preflight.certificate("p")
    earlier = now - dt.timedelta(days=100)
    make.internal(tmp_path / "p", days=90, force=True, now=earlier, say=print)
    with pytest.raises(BadCertificate, match=r"database\.pem ended .* `inv certs\.internal`"):
        preflight.certificate("p")
