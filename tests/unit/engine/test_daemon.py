"""The engine's settings, and how it is started on a machine with systemd and on one without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.engine import daemon
from letta_stack.errors import EngineStartFailed, EngineStoreWrong, EngineTooOld

if TYPE_CHECKING:
    from collections.abc import Callable


def test_an_old_engine_that_is_installed_but_not_running_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        process, "capture", lambda _: "Docker version 20.10.24+dfsg1, build 297e128\n"
    )

    with pytest.raises(EngineTooOld, match="upgrade it"):
        daemon.check_installed()


def test_settings_that_are_there_are_kept() -> None:
    before = '{"log-driver": "local", "features": {"buildkit": true}}'
    after = daemon.with_needed_settings(before, Path("daemon.json"))

    assert after is not None
    assert json.loads(after) == {
        "log-driver": "local",
        "features": {"buildkit": True, "containerd-snapshotter": True},
        "builder": {"gc": {"enabled": True, "defaultKeepStorage": "20GB"}},
    }


def test_the_build_cache_of_somebody_keeps_its_own_limit() -> None:
    before = '{"features": {"containerd-snapshotter": true}, "builder": {"gc": {"enabled": false}}}'

    assert daemon.with_needed_settings(before, Path("daemon.json")) is None


def test_settings_that_are_right_are_not_written_again() -> None:
    text = daemon.with_needed_settings("", Path("daemon.json"))
    assert text is not None

    assert daemon.with_needed_settings(text, Path("daemon.json")) is None


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"features": 1}', '{"features": {"containerd-snapshotter": false}}'],
    ids=["broken", "not an object", "strange features", "turned off on purpose"],
)
def test_settings_that_cannot_be_merged_are_never_replaced(text: str) -> None:
    with pytest.raises(EngineStoreWrong, match=r"daemon\.json"):
        daemon.with_needed_settings(text, Path("daemon.json"))


def test_an_engine_that_is_new_enough_gets_its_settings_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "docker/daemon.json"
    monkeypatch.setattr(process, "capture", lambda _: "Docker version 26.1.5, build a72d7cd\n")
    monkeypatch.setattr(daemon, "SETTINGS", path)

    daemon.check_installed()
    daemon.check_installed()

    assert json.loads(path.read_text())["features"] == {"containerd-snapshotter": True}
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in path.parent.iterdir()] == ["daemon.json"]
    assert capsys.readouterr().err == f"writing {path}\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Give a machine whose engine answers after some questions; it notes what is started."""

    def make(*, answers_after: int, systemd: bool) -> list[list[str]]:
        started: list[list[str]] = []
        asked: list[float] = []

        def probe(argv: list[str], *, timeout: float) -> Completed:
            assert argv[:2] == ["docker", "version"]
            asked.append(timeout)
            return Completed(0 if len(asked) > answers_after else 1, "", "")

        def spawn(argv: list[str], *, log: Path) -> int:
            started.append([*argv, str(log)])
            return 77

        monkeypatch.setattr(process, "probe", probe)
        monkeypatch.setattr(process, "run", started.append)
        monkeypatch.setattr(process, "spawn", spawn)
        monkeypatch.setattr(daemon, "SYSTEMD_RUNS", tmp_path if systemd else tmp_path / "none")
        return started

    return make


def test_an_engine_that_its_package_has_started_is_not_started_again(
    machine: Callable[..., list[list[str]]],
) -> None:
    started = machine(answers_after=0, systemd=True)

    daemon.start()

    assert started == []


def test_systemd_starts_the_engine_now_and_at_every_start_of_the_machine(
    machine: Callable[..., list[list[str]]],
) -> None:
    started = machine(answers_after=2, systemd=True)

    daemon.start()

    assert started == [["systemctl", "enable", "--now", "docker.service"]]


def test_without_systemd_the_engine_runs_in_the_background_and_is_named(
    machine: Callable[..., list[list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    started = machine(answers_after=1, systemd=False)

    daemon.start()

    assert started == [["dockerd", "/var/log/dockerd.log"]]
    assert "started dockerd (pid 77; log /var/log/dockerd.log; stop it with `kill 77`)" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("systemd", "log"), [(True, "journalctl -u docker.service"), (False, "/var/log/dockerd.log")]
)
def test_an_engine_that_does_not_come_up_says_where_the_reason_is(
    systemd: bool,
    log: str,
    machine: Callable[..., list[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(answers_after=10_000, systemd=systemd)
    monkeypatch.setattr(daemon, "START_SECONDS", 0.0)

    with pytest.raises(EngineStartFailed, match=f"the end of {log}"):
        daemon.start()
