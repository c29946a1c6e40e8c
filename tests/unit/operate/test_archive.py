"""Which moments the archive can bring back, and what is said of the others."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.errors import (
    ArchiveBehind,
    ArchiveOff,
    ArchiveUnreachable,
    BackupForeign,
    BadSettings,
    BadValue,
    BuildFailed,
    CommandFailed,
    MomentOutOfRange,
    RestoreFailed,
    SecretsLost,
)
from letta_stack.image import on_postgres, third_party
from letta_stack.operate import archive, postgres, recovery, restore_checks, samples
from letta_stack.operate.archive import Range
from letta_stack.operate.holders.one_host import OneHost
from letta_stack.operate.postgres import Postgres
from letta_stack.secrets import archive as secrets
from letta_stack.secrets.store import Store
from letta_stack.topology import archive as settings
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ON = Project.of("prod", project="mine").with_variables({settings.VARIABLE: settings.ON})
DATABASE = Postgres("mine-letta-db-1", "postgres", "letta", "letta")
KEEPER = State("letta-archive", "mine-letta-archive-1", "running", "healthy", 0)


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    found = [KEEPER]
    monkeypatch.setattr(Compose, "states", lambda _: found)
    monkeypatch.setattr(archive, "archived_until", lambda _: NOON)
    return found


def answers(monkeypatch: pytest.MonkeyPatch, *backups: tuple[datetime, bool]) -> None:
    """Let pgBackRest know of base backups: when each ended, and whether it is broken."""
    listed = [
        {"timestamp": {"start": 0, "stop": int(end.timestamp())}, "error": broken}
        for end, broken in backups
    ]
    text = json.dumps([{"name": "letta", "backup": listed}])
    monkeypatch.setattr(process, "capture", lambda *_, **__: text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-27 12:00:00+00", NOON),
        ("2026-11-27T12:00:00Z", NOON),
        ("2026-11-27 13:00+01:00", NOON),
        ("2026-11-27 12:00:00.5+00", NOON + timedelta(seconds=0.5)),
    ],
)
def test_a_moment_is_read_with_its_time_zone(text: str, expected: datetime) -> None:
    assert archive.moment(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yesterday", "is no time"),
        ("2026-13-01 00:00+00", "is no time"),
        ("2026-11-27 12:00:00", "has no time zone"),
        ("2026-11-27", "has no time zone"),
    ],
)
def test_what_is_no_moment_is_refused_with_an_example(text: str, says: str) -> None:
    with pytest.raises(BadValue, match=f"{says}; write it as '2026-"):
        archive.moment(text)


@pytest.mark.usefixtures("states")
def test_the_range_begins_with_the_first_base_backup_that_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(monkeypatch, (NOON - 3 * HOUR, True), (NOON - 2 * HOUR, False), (NOON - HOUR, False))

    assert archive.known(ON) == Range(NOON - 2 * HOUR, NOON)
    assert archive.as_text(ON) == (
        "point in time: any from 2026-11-27 10:00:00 to 2026-11-27 12:00:00 UTC (--to-time)"
    )


@pytest.mark.usefixtures("states")
def test_without_a_base_backup_there_is_no_range(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch)

    assert archive.known(ON) is None
    assert "not done" in archive.as_text(ON)


def test_without_the_setting_nobody_is_asked() -> None:
    assert archive.as_text(Project.of("prod", project="mine")) == ""


def test_a_list_of_backups_is_shown_whatever_the_archive_says(states: list[State]) -> None:
    states.clear()

    with pytest.raises(ArchiveOff, match="LETTA_STACK_PITR=on"):
        archive.known(ON)
    assert archive.as_text(ON).startswith("point in time: cannot be asked: mine keeps no archive")


@pytest.mark.usefixtures("states")
@pytest.mark.parametrize("moment", [NOON - 3 * HOUR, NOON, NOON + HOUR])
def test_a_moment_outside_of_the_range_is_refused(
    moment: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, (NOON - 2 * HOUR, False))
    monkeypatch.setattr(Postgres, "value", lambda *_: str(NOON.timestamp()))

    with pytest.raises(MomentOutOfRange, match="which goes from 2026-11-27 10:00:00"):
        archive.check(ON, moment, DATABASE)
    archive.check(ON, NOON - HOUR, DATABASE)


def test_everything_is_archived_before_it_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["000000010000000000000003", "000000010000000000000004"])

    def query(_: Postgres, sql: str) -> list[list[str]]:
        if sql == archive.FINISH:
            return [["815"], ["000000010000000000000004"]]
        return [[next(said), "1", ""]]

    monkeypatch.setattr(Postgres, "query", query)

    archive.complete(DATABASE)

    assert list(said) == []


def test_an_archive_that_does_not_come_along_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ARCHIVED_SECONDS", 0.0)
    monkeypatch.setattr(
        Postgres,
        "query",
        lambda _, sql: [["815"], ["4"]] if sql == archive.FINISH else [["3", "1", "2"]],
    )

    with pytest.raises(ArchiveBehind, match="last archived: 3, last failed: 2"):
        archive.complete(DATABASE)


@pytest.mark.parametrize(
    ("log", "error", "says"),
    [
        (
            f"FATAL:  {recovery.TOO_SHORT}\nLOG:  shutting down",
            MomentOutOfRange,
            "has a gap before 2026-11-27 12:00",
        ),
        (
            "ERROR: [095]: cipher header invalid\nLOG:  gone",
            RestoreFailed,
            r"\(ERROR: \[095\]: cipher header invalid\); nothing was changed",
        ),
        ("", RestoreFailed, r"\(\)"),
    ],
)
def test_a_recovery_that_gives_up_says_why(
    log: str, error: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(command: Sequence[str], **_: object) -> Completed:
        if "logs" in command:
            return Completed(0, log, "")
        return Completed(0, "false\n", "") if "inspect" in command else Completed(2, "", "")

    monkeypatch.setattr(process, "probe", probe)

    with pytest.raises(error, match=says):
        recovery.answers(DATABASE, NOON)


@pytest.mark.parametrize("left", [[], ["a", "b"]])
def test_the_next_recovery_deletes_what_a_killed_one_left(
    left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []
    deleted: list[Sequence[str]] = []

    def capture(command: Sequence[str]) -> str:
        asked.append(command)
        return "\n".join(left)

    monkeypatch.setattr(process, "capture", capture)
    monkeypatch.setattr(process, "probe", deleted.append)

    recovery.remove_earlier(ON)

    assert "--filter=name=^mine-recovery-" in asked[0]
    assert deleted == ([["docker", "rm", "--force", "--volumes", *left]] if left else [])


def test_what_the_present_key_cannot_read_is_not_made_a_backup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = SimpleNamespace(encryption_key="present")
    for module, name, answer in (
        (postgres, "of", DATABASE),
        (Postgres, "value", "1"),
        (restore_checks, "refuse_bytes", None),
        (archive, "complete", None),
        (OneHost, "server", "mine-letta-server-1"),
        (OneHost, "secrets", held),
        (process, "capture", "sha256:1"),
        (samples, "encrypted", ["sealed"]),
    ):
        monkeypatch.setattr(module, name, lambda *_, answer=answer, **__: answer)
    monkeypatch.setattr(
        samples,
        "readable",
        lambda *asked: asked != (samples.python_of("sha256:1"), ["sealed"], "present"),
    )

    @contextlib.contextmanager
    def recovered(*_: object) -> Iterator[Postgres]:
        yield DATABASE

    monkeypatch.setattr(recovery, "recovered", recovered)

    with pytest.raises(BackupForeign, match="cannot be read with the present encryption key"):
        recovery.extract(ON, NOON, directory=Path("nowhere"), to=[], clear=False)


def test_the_setting_is_on_or_nothing() -> None:
    prod = Project.of("prod", project="mine")

    assert settings.wanted(ON)
    assert not settings.wanted(prod)
    assert not settings.wanted(Project.of("dev").with_variables({settings.VARIABLE: "on"}))
    with pytest.raises(BadSettings, match="write LETTA_STACK_PITR=on"):
        settings.wanted(prod.with_variables({settings.VARIABLE: "yes"}))


@pytest.mark.usefixtures("states")
def test_an_archive_that_does_not_answer_is_no_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"code": 99, "message": "[HostConnectError] unable to get\naddress for 's3'"}
    info = [{"backup": [], "name": "letta", "repo": [{"key": 1, "status": status}]}]
    monkeypatch.setattr(process, "capture", lambda _: json.dumps(info))

    with pytest.raises(
        ArchiveUnreachable, match=r"cannot be read \(.* get address for 's3'\); check"
    ):
        archive.known(ON)
    assert archive.as_text(ON).startswith("point in time: cannot be asked: the archive of mine")


def test_an_image_of_the_users_own_and_a_schedule_that_is_none_are_refused() -> None:
    config = {"services": {"letta-archive": {"image": "a"}, "letta-db": {"image": "mine"}}}

    with pytest.raises(BadSettings, match="image of your own, mine"):
        settings.check(ON, config)
    with pytest.raises(BadSettings, match="LETTA_STACK_BACKUP_INTERVAL 'often'"):
        settings.check(ON.with_variables({"LETTA_STACK_BACKUP_INTERVAL": "often"}), config)


def test_the_key_is_made_once_and_never_beside_an_archive(
    tmp_path: Path,
) -> None:
    mine = Store(tmp_path)

    with pytest.raises(SecretsLost, match="docker volume rm mine_archive"):
        secrets.ensure(mine, repository="mine_archive", place={}, authority="")
    secrets.ensure(mine, repository="", place={}, authority="")
    key = mine.read(secrets.KEY)
    secrets.ensure(mine, repository="mine_archive", place={}, authority="")

    assert mine.read(secrets.KEY) == key
    assert len(key) > 40
    assert mine.path(secrets.CONFIGURATION).read_text() == f"[global]\nrepo1-cipher-pass={key}\n"
    assert mine.path(secrets.KEY).stat().st_mode & 0o777 == 0o600
    secrets.ensure(mine, repository="", place={"repo1-type": "s3"}, authority="PEM\n")
    assert mine.path(secrets.CONFIGURATION).read_text().endswith(f"={key}\nrepo1-type=s3\n")
    assert mine.path(secrets.AUTHORITY).read_text() == "PEM\n"


def test_pgbackrest_is_added_to_whichever_image_postgresql_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Sequence[str]] = []
    local: set[str] = set()
    monkeypatch.setattr(third_party, "ensure", lambda *_, **__: {"DEBIAN_IMAGE": "debian:here"})
    monkeypatch.setattr(third_party, "is_local", local.__contains__)
    monkeypatch.setattr(process, "run", made.append)

    first = on_postgres.ensure(on_postgres.PGBACKREST, "of/hub:1", source="auto", ca=None)
    local.add(first)
    again = on_postgres.ensure(on_postgres.PGBACKREST, "of/hub:1", source="auto", ca=None)
    other = on_postgres.ensure(on_postgres.PGBACKREST, "of/debian:1", source="auto", ca=None)

    assert first == again != other
    assert len(made) == 2
    assert "--build-arg=POSTGRES_IMAGE=of/hub:1" in made[0]
    assert "--build-arg=DEBIAN_IMAGE=debian:here" in made[0]


def test_an_image_that_cannot_have_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(third_party, "ensure", lambda *_, **__: {"DEBIAN_IMAGE": "debian:here"})
    monkeypatch.setattr(third_party, "is_local", lambda _: False)

    def fails(command: list[str]) -> None:
        raise CommandFailed(command, 1)

    monkeypatch.setattr(process, "run", fails)

    with pytest.raises(BuildFailed, match="add pgBackRest to alpine/postgres"):
        on_postgres.ensure(on_postgres.PGBACKREST, "alpine/postgres", source="auto", ca=None)
