"""Backups in a store, against one in memory: what is there, what is not there yet, and what goes."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from letta_stack.errors import BackupUnknown, BadValue, SecretsExposed, StoreFailed
from letta_stack.operate import bucket as buckets
from letta_stack.operate import manifest, place, store
from letta_stack.operate.bucket import Bucket
from letta_stack.topology import backups
from letta_stack.topology.project import Project
from tests.unit.operate.test_backup import KEY, about_of, written

NOW = datetime.now(UTC)


class Memory:
    """As much of an S3 client as backups use."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.times: dict[str, datetime] = {}
        self.deleted: list[str] = []
        self.aborted: list[str] = []
        self.uploads: list[dict[str, Any]] = []
        self.breaks_at = ""

    def get_paginator(self, name: str) -> Memory:
        assert name == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's
        assert Bucket == "kept"
        rows = [
            {"Key": key, "Size": len(data), "LastModified": self.times.get(key, NOW)}
            for key, data in self.objects.items()
            if key.startswith(Prefix)
        ]
        return [{"Contents": rows[:2]}, {"Contents": rows[2:]}, {}]

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        assert bucket == "kept"
        if self.breaks_at and key.endswith(self.breaks_at):
            raise EndpointConnectionError(endpoint_url="http://store")
        self.objects[key] = Path(path).read_bytes()

    def download_file(self, bucket: str, key: str, path: str) -> None:
        assert bucket == "kept"
        Path(path).write_bytes(self.objects[key])

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803 - boto3's
        assert Bucket == "kept"
        self.deleted.append(Key)
        del self.objects[Key]

    def list_multipart_uploads(self, **_: str) -> dict[str, Any]:
        return {"Uploads": self.uploads} if self.uploads else {}

    def abort_multipart_upload(self, **given: str) -> None:
        self.aborted.append(given["UploadId"])


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def kept(memory: Memory) -> Bucket:
    return Bucket("kept", "stacks/mine/", None, [memory])  # type: ignore[list-item]


def uploaded(kept: Bucket, directory: Path) -> str:
    """Make a backup and take it to the store."""
    one = written(directory)
    about_of(one).save(one.directory, KEY)
    name = one.id
    kept.upload(one.directory, name)
    return name


def test_an_address_has_a_bucket_and_perhaps_a_prefix() -> None:
    assert str(Bucket.of("s3://kept", "mine", "")) == "s3://kept/mine"
    assert Bucket.of("s3://kept/a//b/", "mine", "").prefix == "a/b/mine/"


@pytest.mark.parametrize("address", ["s3://", "s3:///prefix", "s3://key:secret@kept", "s3://a?b=c"])
def test_what_is_no_place_in_a_store_is_refused(address: str) -> None:
    with pytest.raises(BadValue, match="s3://bucket/prefix"):
        Bucket.of(address, "mine", "")


def test_keys_are_in_a_file_of_their_owner(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with pytest.raises(BadValue, match="endpoint_url"):
        Bucket.of("s3://kept", "mine", str(keys))
    keys.touch(mode=0o644)
    with pytest.raises(SecretsExposed, match="chmod 600"):
        Bucket.of("s3://kept", "mine", str(keys))
    keys.chmod(0o600)
    assert Bucket.of("s3://kept", "mine", str(keys)).credentials == keys


def test_a_backup_goes_to_the_store_and_comes_back(
    kept: Bucket, memory: Memory, tmp_path: Path
) -> None:
    name = uploaded(kept, tmp_path)

    assert list(memory.objects)[-1] == f"stacks/mine/{name}/{manifest.NAME}"
    assert not (tmp_path / name).exists()
    with kept.every() as listed:
        assert [(one.id, one.verified) for one in listed] == [(name, "")]
        assert listed[0].manifest is not None
        assert listed[0].bytes == sum(map(len, memory.objects.values()))
    with kept.find("latest") as found:
        manifest.check_files(found.directory, about_of(found))
        manifest.check_seal(found.directory, KEY, found.id)
        (found.directory / store.VERIFIED).write_text("now\n")
        copy = found.directory
    assert not copy.exists()
    with kept.every() as listed:
        assert [one.verified for one in listed] == ["now"]


def test_an_interrupted_upload_is_no_backup_and_goes_after_a_day(
    kept: Bucket, memory: Memory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory.breaks_at = manifest.NAME

    with pytest.raises(StoreFailed, match="endpoint_url"):
        uploaded(kept, tmp_path)

    assert memory.objects
    with kept.every() as listed:
        assert listed == []
    with pytest.raises(BackupUnknown, match="none"), kept.find("latest"):
        raise AssertionError
    # It may still be on its way.
    kept.prune(keep=1, days=0, dry_run=False)
    assert memory.objects
    memory.times = dict.fromkeys(memory.objects, NOW - timedelta(days=2))
    kept.prune(keep=1, days=0, dry_run=True)
    assert memory.objects
    kept.prune(keep=1, days=0, dry_run=False)
    assert memory.objects == {}
    assert "would delete s3://kept/stacks/mine/" in capsys.readouterr().out


def test_old_backups_go_manifest_first_and_old_parts_of_uploads_too(
    kept: Bucket, memory: Memory, tmp_path: Path
) -> None:
    name = uploaded(kept, tmp_path)
    newer = f"{NOW:%Y%m%dT%H%M%SZ}"
    memory.objects |= {
        key.replace(name, newer): data.replace(name.encode(), newer.encode())
        for key, data in memory.objects.items()
    }
    memory.uploads = [
        {"Key": "a", "UploadId": "old", "Initiated": NOW - timedelta(days=2)},
        {"Key": "a", "UploadId": "new", "Initiated": NOW},
    ]

    kept.prune(keep=1, days=0, dry_run=False)

    with kept.every() as listed:
        assert [one.id for one in listed] == [newer]
    assert memory.deleted[0] == f"stacks/mine/{name}/{manifest.NAME}"
    assert memory.aborted == ["old"]


def test_what_the_store_refuses_is_said_in_a_line(kept: Bucket, memory: Memory) -> None:
    def refuse(**_: str) -> list[Any]:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")

    memory.paginate = refuse  # type: ignore[method-assign]

    with pytest.raises(StoreFailed, match=r"s3://kept/stacks/mine: .*AccessDenied.*; check"):
        kept.objects()


def test_a_place_is_the_flags_the_settings_or_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "STATE", tmp_path)
    project = Project.of("prod", project="mine")
    elsewhere = project.with_variables({backups.TO_VARIABLE: "s3://kept"})

    assert place.of(project.with_variables({backups.TO_VARIABLE: ""}), "").bucket is None
    assert place.of(elsewhere, "").bucket == Bucket.of("s3://kept", "mine", "")
    assert place.of(elsewhere, str(tmp_path)) == place.Place(tmp_path, None)


def test_a_backup_that_is_being_read_is_not_deleted(tmp_path: Path) -> None:
    one = written(tmp_path)
    about_of(one).save(one.directory, KEY)

    assert not store.is_used(one.directory)
    with place.Place(tmp_path, None).find("latest") as found:
        assert found.id == one.id
        assert store.is_used(one.directory)
    assert not store.is_used(one.directory)
    assert not store.is_used(tmp_path / "nothing")


def test_the_client_takes_everything_from_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(
        "[default]\naws_access_key_id = mine\naws_secret_access_key = secret\n"
        "region = here\nendpoint_url = http://store:9000\n"
    )
    monkeypatch.setattr(os, "environ", {})

    client = buckets.connect(keys)

    assert client.meta.endpoint_url == "http://store:9000"
    assert client.meta.region_name == "here"
