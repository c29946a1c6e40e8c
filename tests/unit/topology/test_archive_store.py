"""The archive's place in a store: what pgBackRest is told, and which settings are refused before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import BadSettings
from letta_stack.topology import archive, archive_store
from letta_stack.topology.archive_store import Place
from letta_stack.topology.backups import CREDENTIALS_VARIABLE
from letta_stack.topology.project import Project

if TYPE_CHECKING:
    from pathlib import Path

KEYS = """\
[default]
aws_access_key_id = mine
aws_secret_access_key = 100%secret
region = eu-central-1
"""
COMMON = {
    "repo1-type": "s3",
    "repo1-path": "/stacks/p/archive",
    "repo1-s3-bucket": "kept",
    "repo1-s3-region": "eu-central-1",
    "repo1-s3-key": "mine",
    "repo1-s3-key-secret": "100%secret",
}


def project(
    path: Path | None, address: str = "s3://kept/stacks", pitr: str = archive.ON
) -> Project:
    variables = {archive.VARIABLE: pitr, archive_store.VARIABLE: address}
    variables[CREDENTIALS_VARIABLE] = str(path or "")
    return Project.of("prod", project="p").with_variables(variables)


def keys(directory: Path, more: str = "", text: str = KEYS, mode: int = 0o600) -> Path:
    path = directory / "keys"
    path.write_text(text + more, encoding="utf-8")
    path.chmod(mode)
    return path


def test_without_the_setting_it_is_in_the_volume() -> None:
    assert archive_store.place(project(None, address="")) == Place({}, "")


def test_a_store_of_amazon_is_named_by_its_region(tmp_path: Path) -> None:
    assert archive_store.place(project(keys(tmp_path))) == Place(
        COMMON
        | {
            "repo1-s3-endpoint": "s3.eu-central-1.amazonaws.com",
            "repo1-s3-uri-style": "host",
        },
        "",
    )


def test_a_store_of_ones_own_has_address_port_and_authority(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM", encoding="utf-8")
    more = f"endpoint_url = https://s3.example:7070\nca_bundle = {tmp_path / 'ca.pem'}\n"

    assert archive_store.place(project(keys(tmp_path, more))) == Place(
        COMMON
        | {
            "repo1-s3-endpoint": "s3.example",
            "repo1-s3-uri-style": "path",
            "repo1-storage-port": "7070",
            "repo1-storage-ca-file": archive_store.CA_PATH,
        },
        "PEM",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("aws_access_key_id = 100%secret", r"has no section \[default\]"),
        ("[other]\nregion = x", r"has no section \[default\]"),
        (KEYS.replace("region", "place"), "lacks region below"),
        (
            KEYS + "endpoint_url = http://s3.example\n",
            "pgBackRest speaks only TLS; give https://HOST",
        ),
        (KEYS + "ca_bundle = missing.pem\n", "names missing.pem, which cannot be read"),
    ],
)
def test_a_file_that_does_not_say_enough_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadSettings, match=words) as caught:
        archive_store.place(project(keys(tmp_path, text=text)))

    assert "100%secret" not in str(caught.value)


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = keys(tmp_path)

    with pytest.raises(BadSettings, match="give a place such as s3://bucket/prefix"):
        archive_store.place(project(path, address="/backups"))
    with pytest.raises(BadSettings, match="'s3://' is no place in a store"):
        archive_store.place(project(path, address="s3://"))
    with pytest.raises(BadSettings, match=f"{CREDENTIALS_VARIABLE} has to name a file"):
        archive_store.place(project(None))
    path.chmod(0o644)
    with pytest.raises(BadSettings, match="others can read"):
        archive_store.place(project(path))
    with pytest.raises(BadSettings, match="the place of an archive that nobody asked for"):
        archive.wanted(project(path, pitr=""))
