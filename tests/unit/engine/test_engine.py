from __future__ import annotations

import copy
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.engine import daemon, emulation, inspect, install, packages
from letta_stack.engine.packages import Machine
from letta_stack.errors import (
    BuildxMissing,
    ComposeMissing,
    EngineMissing,
    EngineNotPermitted,
    EngineStoreWrong,
    EngineTooOld,
    EngineUnreachable,
    LettaStackError,
)

if TYPE_CHECKING:
    from pathlib import Path

# What `docker info --format '{{json .}}'` says, as far as it is read.
INFO: dict[str, Any] = {
    "ServerVersion": "26.1.5+dfsg1",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
    "Architecture": "x86_64",
    "DockerRootDir": "/var/lib/docker",
    "ClientInfo": {
        "Plugins": [
            {"Name": "buildx", "Version": "0.13.1+ds1"},
            {"Name": "compose", "Version": "2.26.1-4"},
        ]
    },
}
BOOKWORM_ROOT = Machine("debian", "bookworm", root=True)


def info(**changes: object) -> dict[str, Any]:
    return {**copy.deepcopy(INFO), **changes}


def test_debians_own_engine_is_good_enough() -> None:
    found = inspect.parse(INFO)

    assert inspect.problem_of(found) is None
    assert str(found) == (
        "engine 26.1.5+dfsg1 (amd64, containerd image store), buildx 0.13.1+ds1, compose 2.26.1-4"
    )


@pytest.mark.parametrize(
    ("facts", "problem", "says"),
    [
        (info(ServerVersion="20.10.24+dfsg1"), EngineTooOld, "older than 26"),
        (info(DriverStatus=[["Backing Filesystem", "extfs"]]), EngineStoreWrong, "daemon.json"),
        (info(DriverStatus=None), EngineStoreWrong, "containerd-snapshotter"),
        (info(ClientInfo={"Plugins": None}), BuildxMissing, "buildx is missing"),
        (
            info(ClientInfo={"Plugins": [{"Name": "buildx", "Version": "v0.13.1"}]}),
            ComposeMissing,
            "compose is missing",
        ),
        (
            info(
                ClientInfo={
                    "Plugins": [
                        {"Name": "buildx", "Version": "v0.13.1"},
                        {"Name": "compose", "Version": "v2.17.2"},
                    ]
                }
            ),
            ComposeMissing,
            r"compose v2\.17\.2",
        ),
    ],
    ids=["old", "classic store", "no store", "no buildx", "no compose", "old compose"],
)
def test_an_engine_that_cannot_be_used_has_one_reason(
    facts: dict[str, Any], problem: type[LettaStackError], says: str
) -> None:
    found = inspect.problem_of(inspect.parse(facts))

    assert isinstance(found, problem)
    assert re.search(says, str(found))
    assert "\n" not in str(found)


def test_a_plugin_that_cannot_be_run_counts_as_missing() -> None:
    facts = info(
        ClientInfo={"Plugins": [{"Name": "compose", "Version": "2.26.1", "Err": "broken"}]}
    )

    assert inspect.parse(facts).compose == ""


@pytest.mark.parametrize(
    ("text", "version"),
    [("26.1.5+dfsg1", (26, 1, 5)), ("v0.13.1", (0, 13, 1)), ("29.0", (29, 0, 0)), ("", (0, 0, 0))],
)
def test_versions_are_read_as_the_field_writes_them(text: str, version: inspect.Version) -> None:
    assert inspect.parse_version(text) == version


@pytest.mark.parametrize(
    ("client_says", "problem"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", EngineUnreachable),
        (
            "permission denied while trying to connect to the Docker daemon socket",
            EngineNotPermitted,
        ),
    ],
)
def test_silence_is_explained(
    client_says: str, problem: type[LettaStackError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)

    assert isinstance(inspect.explain_silence(client_says), problem)


def test_an_engine_elsewhere_is_named_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2376")

    assert "DOCKER_HOST=tcp://10.0.0.1:2376" in str(inspect.explain_silence("connection refused"))


class Effects:
    """Stands for everything that changes the machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
        monkeypatch.setattr(packages, "installed", lambda _: False)
        monkeypatch.setattr(daemon, "start", lambda: self.done.append("start"))
        monkeypatch.setattr(daemon, "write_settings", lambda _: self.done.append("settings"))
        monkeypatch.setattr(
            packages,
            "install",
            lambda names, _: self.done.append("install " + " ".join(names)),
        )


@pytest.fixture
def effects(monkeypatch: pytest.MonkeyPatch) -> Effects:
    return Effects(monkeypatch)


def test_a_bare_debian_gets_its_settings_before_the_package_can_start_the_engine(
    effects: Effects,
) -> None:
    install.repair(EngineMissing("none"), BOOKWORM_ROOT)

    assert effects.done == [
        "settings",
        (
            "install docker.io docker-cli containerd iptables ca-certificates docker-buildx "
            "docker-compose mmdebstrap qemu-user-static"
        ),
        "start",
    ]


def test_missing_plugins_are_installed_without_touching_the_engine(effects: Effects) -> None:
    install.repair(ComposeMissing("none"), BOOKWORM_ROOT)

    assert effects.done == ["install docker-buildx docker-compose"]


def test_dockers_own_engine_gets_dockers_own_plugins(
    effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "installed", lambda name: name == "docker-ce")
    install.repair(ComposeMissing("none"), BOOKWORM_ROOT)

    assert effects.done == ["install docker-buildx-plugin docker-compose-plugin"]


@pytest.mark.parametrize(
    ("problem", "machine"),
    [
        (EngineMissing("none"), Machine("debian", "bookworm", root=False)),
        (EngineMissing("none"), Machine("fedora", "", root=True)),
        (EngineMissing("none"), Machine("", "", root=True)),
        (EngineUnreachable("silent"), Machine("debian", "bookworm", root=False)),
        (ComposeMissing("none"), Machine("fedora", "", root=True)),
    ],
    ids=[
        "not root",
        "other distribution",
        "unknown system",
        "not root, engine silent",
        "no packages",
    ],
)
def test_what_cannot_be_repaired_here_is_said_and_nothing_is_changed(
    problem: LettaStackError, machine: Machine, effects: Effects
) -> None:
    with pytest.raises(type(problem)):
        install.repair(problem, machine)

    assert effects.done == []


def test_nothing_is_installed_when_the_user_points_at_an_engine_elsewhere(
    effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2376")
    with pytest.raises(EngineUnreachable):
        install.repair(EngineUnreachable("silent"), BOOKWORM_ROOT)

    assert effects.done == []


def test_check_changes_nothing(effects: Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> inspect.Engine:
        raise EngineMissing("none")

    monkeypatch.setattr(inspect, "require", missing)
    with pytest.raises(EngineMissing):
        install.ensure(check=True)

    assert effects.done == []


def test_os_release_is_read_with_and_without_quotes() -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_CODENAME=bookworm\n'

    assert packages.parse_os_release(text)["ID"] == "debian"
    assert packages.parse_os_release(text)["PRETTY_NAME"] == "Debian GNU/Linux 12 (bookworm)"


def test_emulation_is_read_from_the_kernels_own_file(tmp_path: Path) -> None:
    assert emulation.state(tmp_path) == "not registered"

    (tmp_path / emulation.ENTRY).write_text("disabled\ninterpreter /usr/libexec/qemu\n")
    assert emulation.state(tmp_path) == "disabled"


@pytest.fixture
def apt_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packages, "APT_DIR", tmp_path)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    return tmp_path


def test_the_engine_is_borrowed_from_the_newer_suite_and_nothing_else_is(apt_dir: Path) -> None:
    packages.add_suite(BOOKWORM_ROOT)

    source = (apt_dir / "sources.list.d/letta-stack-engine.sources").read_text()
    preferences = (apt_dir / "preferences.d/letta-stack-engine").read_text()
    assert "URIs: http://mirror.example/debian\nSuites: trixie\n" in source
    assert preferences.startswith("Package: *\nPin: release n=trixie*\nPin-Priority: -10\n")


def test_a_suite_that_the_administrator_has_already_is_left_to_them(apt_dir: Path) -> None:
    (apt_dir / "sources.list.d/own.list").write_text(
        "deb http://mirror.example/debian trixie main\n"
    )
    packages.add_suite(BOOKWORM_ROOT)

    assert sorted(path.name for path in apt_dir.rglob("*letta-stack*")) == []


def test_a_machine_without_a_source_to_derive_from_is_told_so(apt_dir: Path) -> None:
    (apt_dir / "sources.list").unlink()

    with pytest.raises(EngineMissing, match="no source for bookworm"):
        packages.add_suite(BOOKWORM_ROOT)


def test_a_newer_debian_borrows_nothing(apt_dir: Path) -> None:
    packages.add_suite(Machine("debian", "trixie", root=True))

    assert sorted(path.name for path in apt_dir.rglob("*letta-stack*")) == []


def test_only_what_is_missing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[list[str]] = []
    monkeypatch.setattr(packages, "installed", lambda name: name != "mmdebstrap")
    monkeypatch.setattr(process, "run", lambda argv, **_: done.append(argv))
    packages.install(["qemu-user-static", "mmdebstrap"], BOOKWORM_ROOT)

    assert [argv[1] for argv in done] == ["update", "install"]
    assert done[1][-1] == "mmdebstrap"
    assert "qemu-user-static" not in done[1]


def test_nothing_is_called_when_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "installed", lambda _: True)

    packages.install(["mmdebstrap"], BOOKWORM_ROOT)


@pytest.mark.parametrize("check", [False, True])
def test_helpers_are_installed_where_that_is_possible_and_asked_for(
    check: bool,
    effects: Effects,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changes: list[bool] = []

    def emulate(*, change: bool) -> str:
        changes.append(change)
        return "emulation: arm64"

    monkeypatch.setattr(emulation, "ensure", emulate)
    monkeypatch.setattr(shutil, "which", lambda _: None)

    install.helpers(BOOKWORM_ROOT, check=check)

    assert effects.done == ([] if check else ["install mmdebstrap qemu-user-static"])
    assert changes == [not check]
    said = capsys.readouterr()
    assert said.out == "emulation: arm64\n"
    assert "mmdebstrap is missing" in said.err


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        (Machine("ubuntu", "noble", root=True), ("docker-buildx", "docker-compose-v2")),
        (BOOKWORM_ROOT, ("docker-buildx", "docker-compose")),
    ],
)
def test_plugins_are_named_as_the_distribution_names_them(
    machine: Machine, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = packages.packages_for(machine)

    monkeypatch.setattr(packages, "installed", lambda _: False)
    assert packages.plugins(named) == names
    # Docker's own repository has other names.
    monkeypatch.setattr(packages, "installed", lambda name: name == "docker-ce")
    assert packages.plugins(named) == ("docker-buildx-plugin", "docker-compose-plugin")
    assert set(names) < set(named.all)


@pytest.mark.parametrize(
    ("changes", "nvidia"),
    [
        ({}, False),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": None}, False),
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, True),
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}, True),
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": "amd.com/gpu=0"}]}, False),
    ],
)
def test_gpus_are_there_when_the_engine_can_give_them(
    changes: dict[str, object], nvidia: bool
) -> None:
    assert inspect.parse(info(**changes)).nvidia is nvidia
