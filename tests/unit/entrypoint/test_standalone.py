"""The server by itself: what must be given to it, and what its tools may read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from entrypoint import landlock, standalone
from entrypoint.errors import BadSetting, EncryptionKeyMissing
from entrypoint.plan import make_plan

if TYPE_CHECKING:
    from pathlib import Path

COMPLETE = {
    "LETTA_PG_URI": "postgresql://letta_1:secret@db:5432/letta",
    "LETTA_REDIS_HOST": "redis",
    "LETTA_ENCRYPTION_KEY": "key",
    "LETTA_SERVER_PASSWORD": "password",
}


def test_with_everything_given_the_database_is_the_given_one() -> None:
    database = standalone.required(COMPLETE, make_plan(COMPLETE), serving=True)

    assert database.address == "db:5432"


@pytest.mark.parametrize(
    ("missing", "error"),
    [
        ("LETTA_PG_URI", BadSetting),
        ("LETTA_REDIS_HOST", BadSetting),
        ("LETTA_SERVER_PASSWORD", BadSetting),
        ("LETTA_ENCRYPTION_KEY", EncryptionKeyMissing),
    ],
)
def test_what_the_whole_stack_would_make_for_itself_must_be_given(
    missing: str, error: type[Exception]
) -> None:
    settings = {name: value for name, value in COMPLETE.items() if name != missing}

    with pytest.raises(error, match=missing):
        standalone.required(settings, make_plan(settings), serving=True)


def test_an_open_api_needs_no_password() -> None:
    settings = {**COMPLETE, "LETTA_SERVER_PASSWORD": "", "LETTA_SERVER_SECURE": "false"}

    standalone.required(settings, make_plan(settings), serving=True)


def test_a_migration_needs_neither_redis_nor_the_servers_password() -> None:
    settings = {name: COMPLETE[name] for name in ("LETTA_PG_URI", "LETTA_ENCRYPTION_KEY")}

    standalone.required(settings, make_plan(settings), serving=False)


def test_the_files_that_took_the_place_of_variables_are_known(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    given = {"LETTA_PG_URI_FILE": str(link), "SSL_CERT_FILE": "/etc/ssl/cert.pem"}
    settings = {"LETTA_PG_URI": "postgresql://...", "SSL_CERT_FILE": "/etc/ssl/cert.pem"}

    assert standalone.secret_files(given, settings) == {(tmp_path / "file").resolve()}


def test_everything_but_the_hidden_can_be_read(tmp_path: Path) -> None:
    for name in ("run/secrets/one", "run/secrets/other", "run/letta/state", "etc/hosts"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "lib").symlink_to("etc")

    found = landlock.readable({tmp_path / "run/secrets/one"}, tmp_path)

    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "etc",
        "run/letta",
        "run/secrets/other",
    ]
