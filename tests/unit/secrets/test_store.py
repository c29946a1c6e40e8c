from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import BadSecret, SecretDrifted, SecretsExposed, SecretsLost
from letta_stack.secrets import kinds
from letta_stack.secrets.store import FINGERPRINTS, IMAGE_UID, Store

if TYPE_CHECKING:
    from pathlib import Path

OWNER = os.getuid() or IMAGE_UID


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / ".secrets" / "mine")
    made.ensure(data="")
    return made


def modes(store: Store) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in store.directory.iterdir()}


def test_the_first_start_makes_every_secret_for_its_owner_alone(store: Store) -> None:
    private = dict.fromkeys([*kinds.NAMES, FINGERPRINTS], 0o600)
    public = dict.fromkeys([kinds.DATABASE_LOGIN, kinds.REDIS_USERS], 0o644)

    assert modes(store) == private | public
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert store.directory.parent.stat().st_mode & 0o777 == 0o700


def test_the_umask_takes_nothing_from_the_hashes_that_the_data_services_read(
    tmp_path: Path,
) -> None:
    before = os.umask(0o077)
    try:
        made = Store(tmp_path / "mine")
        made.ensure(data="")
    finally:
        os.umask(before)

    assert modes(made)[kinds.REDIS_USERS] == 0o644


def test_the_server_runs_as_the_owner_who_is_never_root(store: Store) -> None:
    assert store.variables["LETTA_STACK_UID"] == str(OWNER)
    assert store.variables["LETTA_STACK_SECRETS"] == str(store.directory)


def test_the_next_start_changes_nothing(store: Store) -> None:
    before = {path: path.read_text() for path in store.directory.iterdir()}

    store.ensure(data="mine_db")

    assert {path: path.read_text() for path in store.directory.iterdir()} == before


def test_a_value_of_the_users_own_is_taken_if_it_was_there_first(tmp_path: Path) -> None:
    made = Store(tmp_path / "mine")
    made.directory.mkdir(mode=0o700)
    made.write(kinds.SERVER, "my-own-long-password")

    made.ensure(data="")

    assert made.read(kinds.SERVER) == "my-own-long-password"


def test_a_secret_that_others_can_read_is_refused(store: Store) -> None:
    store.path(kinds.REDIS).chmod(0o640)

    with pytest.raises(SecretsExposed, match=r"redis-password \(mode 640\); run `chmod 600 "):
        store.ensure(data="")


def test_a_directory_that_others_can_enter_is_refused(store: Store) -> None:
    store.directory.chmod(0o750)

    with pytest.raises(SecretsExposed, match="run `chmod 700 "):
        store.ensure(data="")


def test_a_link_is_refused(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    store.path(kinds.SERVER).rename(target)
    store.path(kinds.SERVER).symlink_to(target)

    with pytest.raises(SecretsExposed, match="is a link"):
        store.ensure(data="")


@pytest.mark.parametrize("name", kinds.NAMES)
def test_a_secret_that_was_changed_by_hand_is_refused(store: Store, name: str) -> None:
    store.path(name).write_text(kinds.new(name))

    with pytest.raises(SecretDrifted, match=f"inv secrets.rotate {name}"):
        store.ensure(data="mine_db")


def test_an_empty_secret_is_refused(store: Store) -> None:
    store.path(kinds.SERVER).write_text("\n")

    with pytest.raises(BadSecret, match="server-password is empty"):
        store.ensure(data="mine_db")


def test_lost_secrets_are_not_made_anew_while_there_is_data(store: Store) -> None:
    for path in store.directory.iterdir():
        path.unlink()

    with pytest.raises(
        SecretsLost, match=r"the volume mine_db has data, but .* lacks database-uri"
    ):
        store.ensure(data="mine_db")

    assert list(store.directory.iterdir()) == []


def test_no_message_repeats_a_secret(store: Store) -> None:
    value = store.read(kinds.SERVER)
    store.path(kinds.SERVER).write_text(f"{value}%")

    with pytest.raises(BadSecret) as raised:
        store.ensure(data="")

    assert value not in str(raised.value)


def test_another_users_secrets_are_not_touched(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: Path) -> list[Path]:
        raise PermissionError

    monkeypatch.setattr("letta_stack.secrets.store.SECRETS", store.directory.parent)
    monkeypatch.setattr(type(store.directory), "iterdir", denied)  # root may enter every directory

    with pytest.raises(SecretsExposed, match="belongs to somebody else"):
        Store.of("mine")


@pytest.mark.parametrize(("uid", "expected"), [(0, "10001"), (1000, "1000")])
def test_who_reads_the_files_is_known_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, expected: str
) -> None:
    monkeypatch.setattr("os.getuid", lambda: uid)
    monkeypatch.setattr("os.getgid", lambda: uid)

    assert Store(tmp_path).user == {"LETTA_STACK_UID": expected, "LETTA_STACK_GID": expected}
