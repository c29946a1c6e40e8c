"""What a backup says about itself, who may read it, and what is kept."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyrage
import pytest

from letta_stack.errors import (
    BackupBroken,
    BackupForeign,
    BackupNewer,
    BackupNoRoom,
    BackupUnknown,
    BadValue,
    CommandFailed,
    IdentityWrong,
    SecretsUnprotected,
)
from letta_stack.operate import (
    backup,
    dump,
    listing,
    manifest,
    restore_checks,
    secrets_bundle,
    store,
    tables,
    verify,
)
from letta_stack.operate.manifest import Manifest
from letta_stack.operate.secrets_bundle import Secrets
from letta_stack.operate.tables import Table
from letta_stack.topology.project import Project

if TYPE_CHECKING:
    from pathlib import Path

KEY = "the encryption key of the stack"
ABOUT = Manifest(
    id="20260102T030405Z",
    created="2026-01-02T03:04:05+00:00",
    reason="by hand",
    topology="dev",
    project="letta-stack-dev",
    stack_version="0.1.0",
    letta_version="0.16.8",
    server_image="sha256:1",
    database_image="sha256:2",
    postgres_version="15.14",
    revision="1c28e167b74f",
    extensions={"vector": "0.8.0"},
    database="letta",
    database_bytes=1,
    owner="letta",
    roles=["letta"],
    settings=[["", "search_path", "letta, public"]],
    key_id="",
    recipients=[],
    files={},
    tables={"public.agents": Table(2, "1:2")},
)
SECRETS = Secrets(KEY, {"var/lib/letta/secrets/x": base64.b64encode(b"y").decode()}, {})


def written(
    directory: Path, *, name: str = ABOUT.id, identity: pyrage.x25519.Identity | None = None
) -> store.Backup:
    home = directory / name
    home.mkdir(parents=True)
    (home / manifest.DUMP).write_bytes(b"a dump of many bytes")
    if identity:
        sealed = secrets_bundle.encrypt(SECRETS, [str(identity.to_public())])
        (home / manifest.SEALED_SECRETS).write_bytes(sealed)
    files = {one.name: manifest.digest(one) for one in home.iterdir()}
    about = replace(ABOUT, id=name, files=files, key_id=manifest.derive(KEY, name)[0])
    about.save(home, KEY)
    return store.find(directory, name)


def about_of(one: store.Backup) -> Manifest:
    assert one.manifest is not None
    return one.manifest


def test_a_backup_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = written(tmp_path)

    assert about_of(one).tables == ABOUT.tables
    manifest.check_files(one.directory, about_of(one))
    manifest.check_seal(one.directory, KEY, one.id)


def test_a_truncated_dump_is_refused(tmp_path: Path) -> None:
    one = written(tmp_path)
    (one.directory / manifest.DUMP).write_bytes(b"a dump")

    with pytest.raises(BackupBroken, match=r"database\.dump has 6 bytes, 20 were written"):
        manifest.check_files(one.directory, about_of(one))


def test_a_dump_with_another_byte_is_refused(tmp_path: Path) -> None:
    one = written(tmp_path)
    (one.directory / manifest.DUMP).write_bytes(b"a dump of many bytez")

    with pytest.raises(BackupBroken, match="another checksum"):
        manifest.check_files(one.directory, about_of(one))


def test_a_dump_that_is_gone_is_refused(tmp_path: Path) -> None:
    one = written(tmp_path)
    (one.directory / manifest.DUMP).unlink()

    with pytest.raises(BackupBroken, match="is missing"):
        manifest.check_files(one.directory, about_of(one))


def test_a_manifest_that_was_changed_to_fit_a_changed_dump_is_refused(tmp_path: Path) -> None:
    one = written(tmp_path)
    path = one.directory / manifest.NAME
    path.write_text(path.read_text().replace("1:2", "9:9"))

    with pytest.raises(BackupBroken, match="was changed after it was written"):
        manifest.check_seal(one.directory, KEY, one.id)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "{", '{"format": 1}', '{"format": 1, "files": 3}']
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.NAME).write_text(text)

    with pytest.raises(BackupBroken):
        manifest.load(tmp_path)


def test_a_manifest_of_a_later_format_is_refused_whatever_is_in_it(tmp_path: Path) -> None:
    (tmp_path / manifest.NAME).write_text(json.dumps({"format": 2, "stack_version": "9.0"}))

    with pytest.raises(BackupNewer, match="restore it with the letta-stack that made it"):
        manifest.load(tmp_path)


def test_secrets_are_for_the_holder_of_the_identity_alone(tmp_path: Path) -> None:
    mine, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    sealed = secrets_bundle.encrypt(SECRETS, [str(mine.to_public())])
    for name, identity in (("mine", mine), ("other", other)):
        (tmp_path / name).write_text(f"# public key: {identity.to_public()}\n{identity}\n")

    assert KEY.encode() not in sealed
    assert secrets_bundle.decrypt(sealed, tmp_path / "mine") == SECRETS
    with pytest.raises(IdentityWrong, match="does not open"):
        secrets_bundle.decrypt(sealed, tmp_path / "other")


@pytest.mark.parametrize("content", ["", "AGE-SECRET-KEY-1NONSENSE", "-----BEGIN"])
def test_a_file_that_is_no_identity_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "identity").write_text(content)

    with pytest.raises(IdentityWrong, match="is no identity"):
        secrets_bundle.decrypt(b"", tmp_path / "identity")


@pytest.mark.parametrize("text", ["", "age1", "ssh-rsa nonsense", "me@example.org"])
def test_a_recipient_has_to_be_a_public_key(text: str) -> None:
    with pytest.raises(IdentityWrong, match="is no recipient"):
        secrets_bundle.recipient(text)


def test_the_key_of_a_backup_is_the_one_here_or_comes_with_an_identity(tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    one = written(tmp_path, identity=identity)
    (tmp_path / "identity").write_text(str(identity))

    assert verify.encryption_key(one, about_of(one), identity=None, key=KEY) == KEY
    opened = verify.encryption_key(one, about_of(one), identity=tmp_path / "identity", key="")
    assert opened == KEY
    for key in ("", "another key"):
        with pytest.raises(BackupForeign, match="another encryption key"):
            verify.encryption_key(one, about_of(one), identity=None, key=key)


def test_an_identity_for_a_backup_without_secrets_is_refused(tmp_path: Path) -> None:
    one = written(tmp_path)

    with pytest.raises(IdentityWrong, match="no encrypted secrets"):
        verify.encryption_key(one, about_of(one), identity=tmp_path / "identity", key=KEY)


def test_a_backup_of_another_project_has_to_be_meant() -> None:
    project = Project.of("dev", project="mine")

    with pytest.raises(BackupForeign, match="is of letta-stack-dev, not of mine"):
        restore_checks.refuse_foreign(project, ABOUT, foreign=False, new_key="", given={})
    restore_checks.refuse_foreign(project, ABOUT, foreign=True, new_key=KEY, given={})


@pytest.mark.parametrize("variable", ["LETTA_ENCRYPTION_KEY", "LETTA_ENCRYPTION_KEY_FILE"])
def test_a_key_that_the_operator_sets_is_not_replaced(variable: str) -> None:
    with pytest.raises(BackupForeign, match="is set from outside"):
        restore_checks.refuse_foreign(
            Project.of("dev"), ABOUT, foreign=False, new_key=KEY, given={variable: "other"}
        )


@pytest.mark.parametrize(
    ("variables", "files", "key"),
    [
        ({"LETTA_ENCRYPTION_KEY": "given"}, {secrets_bundle.KEY_FILE: b"own\n"}, "given"),
        ({"LETTA_ENCRYPTION_KEY_FILE": "/run/secrets/key"}, {"run/secrets/key": b"file\n"}, "file"),
        ({}, {secrets_bundle.KEY_FILE: b"own\n"}, "own"),
        ({}, {}, ""),
    ],
)
def test_the_encryption_key_is_found_in_the_order_of_the_image(
    variables: dict[str, str], files: dict[str, bytes], key: str
) -> None:
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}

    assert secrets_bundle.effective_key(variables, encoded) == key


def test_nothing_is_written_in_clear_unless_that_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SecretsUnprotected, match="--clear-secrets"):
        backup.create(Project.of("dev"), directory=tmp_path / "new", to=[])

    assert not (tmp_path / "new").exists()


def test_recipients_are_the_flags_then_the_variable_then_those_of_the_last_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = written(tmp_path)
    replace(about_of(one), recipients=["age1last"]).save(one.directory, KEY)

    assert backup.recipients([], "", tmp_path) == ["age1last"]
    assert backup.recipients([], "age1a, age1b", tmp_path) == ["age1a", "age1b"]
    assert backup.recipients(["age1flag"], "age1a", tmp_path) == ["age1flag"]


def test_a_disk_without_room_is_refused_before_the_dump(tmp_path: Path) -> None:
    backup.check_room(tmp_path, 1)

    with pytest.raises(BackupNoRoom, match="MiB free"):
        backup.check_room(tmp_path, 2**60)


def test_a_full_disk_is_told_from_other_failures() -> None:
    assert backup.is_full(OSError(28, "No space left on device"))
    assert backup.is_full(CommandFailed(["docker"], 1, "write x: no space left on device"))
    assert not backup.is_full(CommandFailed(["docker"], 1, "no such container"))


def test_settings_of_a_database_keep_lists_as_lists() -> None:
    sql = dump.settings_sql('le"tta', [["", "search_path", '"a b", public'], ["me", "x.y", "it's"]])

    assert sql.splitlines() == [
        'ALTER DATABASE "le""tta" SET "search_path" TO "a b", public;',
        'ALTER ROLE "me" IN DATABASE "le""tta" SET "x.y" TO \'it\'\'s\';',
    ]


def test_tables_that_differ_are_named() -> None:
    before = {"a": Table(1, "x"), "b": Table(2, "x"), "c": Table(3, "x"), "d": Table(0, "0:0")}
    after = {"a": Table(1, "x"), "b": Table(1, "x"), "c": Table(3, "y"), "e": Table(0, "0:0")}

    assert tables.differences(before, after) == [
        "b has 1 rows instead of 2",
        "c has other content in its 3 rows",
        "d is only in the backup",
        "e is only in the restored database",
    ]


def test_the_newest_backup_is_latest_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupUnknown, match="has no backup"):
        store.find(tmp_path / "none", "latest")
    for name in ("20260101T000000Z", "20260103T000000Z", "20260102T000000Z"):
        written(tmp_path, name=name)
    (tmp_path / ".partial-20260104T000000Z").mkdir()

    assert store.find(tmp_path, "latest").id == "20260103T000000Z"
    assert store.find(tmp_path, str(tmp_path / "20260102T000000Z")).id == "20260102T000000Z"
    with pytest.raises(BackupUnknown, match="newest: 20260101T000000Z, 20260102T000000Z"):
        store.find(tmp_path, "20250101T000000Z")


def test_pruning_keeps_the_newest_the_young_and_the_newest_verified(tmp_path: Path) -> None:
    days = [1, 2, 3, 4, 9]
    found = [written(tmp_path, name=f"202601{day:02}T000000Z") for day in days]
    (found[1].directory / store.VERIFIED).write_text("2026-01-02\n")
    now = datetime(2026, 1, 10, tzinfo=UTC)

    def pruned(keep: int, youngest: int) -> list[int]:
        doomed = store.to_prune(store.every(tmp_path), keep=keep, days=youngest, now=now)
        return [one.created.day for one in doomed]

    assert pruned(1, 0) == [1, 3, 4]
    assert pruned(2, 0) == [1, 3]
    assert pruned(1, 8) == [1]
    with pytest.raises(BadValue, match="keep at least 1"):
        pruned(0, 0)


def test_pruning_removes_what_it_says_and_what_a_kill_left(tmp_path: Path) -> None:
    for day in (1, 2):
        written(tmp_path, name=f"2026010{day}T000000Z")
    (tmp_path / ".partial-20260103T000000Z").mkdir()

    store.prune(tmp_path, keep=1, days=0, dry_run=True)
    assert len(list(tmp_path.iterdir())) == 3
    store.prune(tmp_path, keep=1, days=0, dry_run=False)
    assert [one.name for one in tmp_path.iterdir()] == ["20260102T000000Z"]


def test_a_backup_that_cannot_be_read_is_listed_as_such(tmp_path: Path) -> None:
    written(tmp_path, name="20260101T000000Z", identity=pyrage.x25519.Identity.generate())
    broken = written(tmp_path, name="20260102T000000Z")
    (broken.directory / manifest.NAME).write_text("{")
    found = store.every(tmp_path)

    _, first, second = listing.as_text(found).splitlines()
    assert first.split()[0] == "20260101T000000Z"
    assert "encrypted" in first
    assert second.endswith("CANNOT BE READ")
    listed = json.loads(listing.as_json(found))
    assert [one.get("problem", "")[:1] for one in listed] == ["", str(tmp_path)[:1]]
