"""Secrets that the container makes and keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from entrypoint.errors import EncryptionKeyMissing
from entrypoint.secret_store import encryption_key, keep, kept_or_new

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "password"

    first = kept_or_new(path)

    assert first == kept_or_new(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [path] == list(tmp_path.iterdir())


def test_a_secret_can_stand_in_any_uri(tmp_path: Path) -> None:
    secret = kept_or_new(tmp_path / "password")

    assert len(secret) >= 32
    assert secret.replace("-", "").replace("_", "").isalnum()


def test_the_replica_that_comes_second_takes_the_secret_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "password"
    keep(path, "first")
    # As if the file had appeared after the look.
    monkeypatch.setattr("pathlib.Path.exists", lambda _: False)

    assert keep(path, "second") == "first"


def test_a_generated_key_stays_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = encryption_key(tmp_path, None)

    assert key == encryption_key(tmp_path, None)
    assert capsys.readouterr().err == ""


def test_a_given_key_wins_and_is_not_copied_to_the_volume(tmp_path: Path) -> None:
    assert encryption_key(tmp_path, "mine") == "mine"
    assert not any("mine" in file.read_text() for file in tmp_path.iterdir())


def test_another_key_than_last_time_is_used_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generated = encryption_key(tmp_path, None)

    assert encryption_key(tmp_path, "mine") == "mine"
    assert "WARNING: the encryption key differs" in capsys.readouterr().err
    assert encryption_key(tmp_path, "mine") == "mine"
    assert capsys.readouterr().err == ""
    assert encryption_key(tmp_path, None) == generated
    assert "WARNING: the encryption key differs" in capsys.readouterr().err


def test_a_given_key_that_is_gone_stops_the_start(tmp_path: Path) -> None:
    encryption_key(tmp_path, "mine")

    with pytest.raises(EncryptionKeyMissing, match="set it again"):
        encryption_key(tmp_path, None)
