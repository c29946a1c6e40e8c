"""The service that makes backups: when, of what, and with nothing that its container does not have."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base.paths import ROOT
from letta_stack.errors import BackupNoRoom, BadSettings, BadValue, CommandFailed, NotRunning
from letta_stack.operate import backup, dump, scheduled, store
from letta_stack.operate.place import Place
from letta_stack.operate.postgres import Direct
from letta_stack.operate.secrets_bundle import Secrets
from letta_stack.secrets.store import Store
from letta_stack.topology import backups, metrics
from letta_stack.topology.project import Project

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
FOREIGN = """
import sys
import letta_stack.operate.scheduled
names = {name.partition(".")[0] for name, one in list(sys.modules.items())
         if "site-packages" in (getattr(one, "__file__", None) or "")}
print(*sorted(names - {"letta_stack"} - set(sys.argv[1:])))
"""


@pytest.mark.usefixtures("real_processes")
def test_the_service_imports_nothing_that_its_image_lacks() -> None:
    # What the interpreter itself loads from there, for instance to measure coverage.
    before = subprocess.run(
        [sys.executable, "-c", FOREIGN.replace("import letta_stack.operate.scheduled", "")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    found = subprocess.run(
        [sys.executable, "-c", FOREIGN, *before],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.split() == []


def made(tmp_path: Path, age: timedelta, *, readable: bool = True) -> store.Backup:
    name = (NOW - age).strftime("%Y%m%dT%H%M%SZ")
    return store.Backup(tmp_path / name, object() if readable else None)  # type: ignore[arg-type]


def test_a_backup_is_due_an_interval_after_the_last_one_that_can_be_read(tmp_path: Path) -> None:
    hour = timedelta(hours=1)

    def due(*given: store.Backup) -> float:
        return scheduled.due(list(given), interval=86400, now=NOW)

    assert due() == 0
    assert due(made(tmp_path, 25 * hour)) == 0
    assert due(made(tmp_path, 25 * hour), made(tmp_path, hour)) == 23 * 3600
    assert due(made(tmp_path, hour, readable=False)) == 0
    # Of a clock that was wrong.
    assert due(made(tmp_path, -400 * hour)) == 86400


def test_the_secrets_are_the_files_and_what_the_environment_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduled, "STORE", tmp_path / "backup-store")
    for name in ("encryption-key", "backup-store"):
        (tmp_path / name).write_text(f"of {name}\n")
    key = tmp_path / "encryption-key"
    given = {"LETTA_ENCRYPTION_KEY_FILE": str(key), "OPENAI_API_KEY": "sk", "XAI_API_KEY": ""}

    found = scheduled.bundle(tmp_path, given)

    assert found.encryption_key == "of encryption-key"
    encoded = base64.b64encode(b"of encryption-key\n").decode()
    assert found.files == {str(key).lstrip("/"): encoded}
    assert found.environment == {"LETTA_ENCRYPTION_KEY_FILE": str(key), "OPENAI_API_KEY": "sk"}


def test_the_database_is_reached_by_libpqs_variables_and_no_password_is_an_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    def value(self: Direct, _sql: str) -> str:
        asked.append(self.argv("psql", "--quiet"))
        return "letta"

    monkeypatch.setattr(Direct, "value", value)
    monkeypatch.setattr(os, "environ", {})

    found = scheduled.connect("postgresql://letta_2:p%40ss@letta-db:5433/letta", "/ca.pem")

    assert (found.name, found.owner) == ("letta", "letta")
    assert os.environ["PGPASSWORD"] == "p@ss"
    assert os.environ["PGSSLMODE"] == "verify-full"
    assert os.environ["PGPORT"] == "5433"
    assert not [word for words in asked for word in words if "p@ss" in word]


class Ended(Exception):
    """Ends the service's loop."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Replace what the service does by notes of it."""
    notes: dict[str, Any] = {"done": [], "fails": []}
    environment = {
        backups.INTERVAL_VARIABLE: "1h",
        backups.KEEP_VARIABLE: "3",
        backups.DAYS_VARIABLE: "2",
        "LETTA_STACK_BACKUP_PROJECT": "mine",
    }
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(scheduled, "naps", lambda *_: iter([5.0]))
    monkeypatch.setattr(store, "STATE", tmp_path)

    def once(place: Place, _: object) -> None:
        notes["done"].append(("backup", place.directory))
        if notes["fails"]:
            raise notes["fails"].pop(0)

    def sleep(seconds: float) -> None:
        notes["done"].append(("sleep", seconds))
        if len([one for one in notes["done"] if one[0] == "sleep"]) > notes["sleeps"]:
            raise Ended

    monkeypatch.setattr(scheduled, "once", once)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(
        Place, "prune", lambda _, **given: notes["done"].append(("prune", given["keep"]))
    )
    return notes


def test_the_service_waits_backs_up_deletes_and_goes_on(
    service: dict[str, Any], tmp_path: Path
) -> None:
    service["sleeps"] = 1

    with pytest.raises(Ended):
        scheduled.main()

    directory = tmp_path / "mine/backups"
    assert service["done"] == [
        ("sleep", 5.0),
        ("backup", directory),
        ("prune", 3),
        ("sleep", 5.0),
    ]


@pytest.mark.parametrize("error", [NotRunning("no schema"), OSError(28, "No space left")])
def test_a_backup_that_fails_deletes_nothing_and_is_tried_again(
    error: Exception, service: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    service |= {"sleeps": 2, "fails": [error]}

    with pytest.raises(Ended):
        scheduled.main()

    assert [name for name, _ in service["done"]] == ["sleep", "backup", "sleep", "sleep"]
    assert str(error) in capsys.readouterr().err


def test_a_database_without_a_schema_is_not_backed_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "database-uri").write_text("postgresql://letta_1:x@db/letta")
    monkeypatch.setattr(scheduled, "SECRETS", tmp_path)
    source = Direct("", "letta_1", "letta", "letta")
    monkeypatch.setattr(scheduled, "connect", lambda *_: source)
    monkeypatch.setattr(Direct, "value", lambda *_: "")

    with pytest.raises(NotRunning, match="no schema"):
        scheduled.once(Place(tmp_path, None), {})


def test_what_cannot_be_written_leaves_no_backup(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise CommandFailed(["pg_dump"], 1, "could not write: No space left on device")

    monkeypatch.setattr(dump, "facts", lambda _: {"bytes": 1})
    monkeypatch.setattr(dump, "write", fail)
    source = Direct("", "letta_1", "letta", "letta")
    secrets = Secrets("key", {}, {})

    with pytest.raises(BackupNoRoom, match="became full"):
        backup.write(source, secrets, {"project": "mine"}, directory=tmp_path, to=[])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"), [("30m", 1800), ("24h", 86400), ("7d", 604800), ("1w", 0), ("0h", 0)]
)
def test_an_interval_is_a_time(text: str, expected: int) -> None:
    if expected:
        assert backups.interval(text) == expected
    else:
        with pytest.raises(BadValue, match="24h"):
            backups.interval(text)


@pytest.fixture
def prod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Project:
    monkeypatch.setattr(backups, "STATE", tmp_path)
    monkeypatch.setattr(metrics, "STATE", tmp_path)
    monkeypatch.setattr(
        Store,
        "user",
        property(lambda _: {"LETTA_STACK_UID": "10001", "LETTA_STACK_GID": "10001"}),
    )
    monkeypatch.setattr(os, "chown", lambda *_: None)
    return Project.of("prod", project="mine").with_variables(
        {backups.RECIPIENTS_VARIABLE: "age1mine"}
    )


def test_a_schedule_gets_its_directories(prod: Project, tmp_path: Path) -> None:
    backups.prepare(prod)

    assert (tmp_path / "mine/backups").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "mine/metrics").stat().st_mode & 0o777 == 0o755


def test_without_recipients_there_is_no_schedule(prod: Project, tmp_path: Path) -> None:
    backups.prepare(prod.with_variables({backups.RECIPIENTS_VARIABLE: ""}))
    backups.prepare(Project.of("dev").with_variables({backups.RECIPIENTS_VARIABLE: "age1mine"}))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (backups.INTERVAL_VARIABLE, "daily", "24h"),
        (backups.KEEP_VARIABLE, "0", "the last backup"),
        (backups.DAYS_VARIABLE, "week", "whole number"),
        (backups.TO_VARIABLE, "/mnt", "s3://"),
        (backups.TO_VARIABLE, "s3://mine", "needs keys"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused_before_anything_starts(
    name: str, value: str, says: str, prod: Project
) -> None:
    with pytest.raises(BadSettings, match=says):
        backups.prepare(prod.with_variables({name: value}))


def test_keys_that_the_service_could_not_read_are_refused(prod: Project, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.touch()
    given = {backups.TO_VARIABLE: "s3://mine", backups.CREDENTIALS_VARIABLE: str(keys)}

    with pytest.raises(BadSettings, match=r"user 10001, .*run `chown 10001 "):
        backups.prepare(prod.with_variables(given))
