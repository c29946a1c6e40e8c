"""Backups in an S3-compatible store: the same files, under `<prefix>/<project>/<backup>/`.

A backup is there as soon as its manifest is, which is written last and deleted first; so an interrupted upload or deletion
leaves files, but nothing that looks like a backup.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import console
from letta_stack.errors import BackupUnknown, StoreFailed
from letta_stack.operate import manifest as manifests
from letta_stack.operate import store
from letta_stack.operate.store import Backup
from letta_stack.topology import backups
from letta_stack.topology.backups import CREDENTIALS_VARIABLE, SCHEME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectTypeDef

LEFT_BEHIND = timedelta(days=1)  # an upload that is older has no one who goes on with it
CONNECT_SECONDS = 10
READ_SECONDS = 60
SMALL = (manifests.NAME, manifests.SEAL, store.VERIFIED)  # what `inv backup.list` needs


@dataclass(frozen=True)
class Remote(Backup):
    """A backup in a store; ``directory`` has only its small files."""

    size: int = 0

    @property
    def bytes(self) -> int:
        """How much room it takes there."""
        return self.size


@dataclass(frozen=True)
class Bucket:
    """The backups of one project in a store."""

    name: str
    prefix: str  # "" or with a slash at its end
    credentials: Path | None
    _cache: list[S3Client] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def of(cls, address: str, project: str, credentials: str) -> Bucket:
        """Read ``s3://bucket/prefix``; ``credentials`` names a file like ~/.aws/credentials, "" for boto3's own search.

        Raises ``BadValue``, ``SecretsExposed``.
        """
        name, prefix = backups.parts(address, project)
        path = Path(credentials).expanduser() if credentials else None
        if path is not None:
            backups.check_credentials(path)
        return cls(name, prefix, path)

    @property
    def client(self) -> S3Client:
        """What speaks with the store, made once."""
        if not self._cache:
            self._cache.append(connect(self.credentials))
        return self._cache[0]

    def __str__(self) -> str:
        """Write the address."""
        return f"{SCHEME}{self.name}/{self.prefix.rstrip('/')}"

    def objects(self) -> dict[str, dict[str, ObjectTypeDef]]:
        """Return what is there: backup -> file -> what the store knows of it. Raises ``StoreFailed``."""
        found: dict[str, dict[str, ObjectTypeDef]] = {}
        with said_plainly(self):
            pages = self.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.name, Prefix=self.prefix):
                for one in page.get("Contents", []):
                    backup, _, file = one["Key"].removeprefix(self.prefix).partition("/")
                    if store.ID.fullmatch(backup) and file:
                        found.setdefault(backup, {})[file] = one
        return found

    @contextlib.contextmanager
    def every(self) -> Iterator[list[Backup]]:
        """Give the backups, the oldest first, with their small files in a directory that ends with the block."""
        with tempfile.TemporaryDirectory() as directory:
            listed: list[Backup] = []
            for name, files in sorted(self.objects().items()):
                if manifests.NAME not in files:
                    continue
                local = Path(directory, name)
                self.fetch(name, [file for file in SMALL if file in files], local)
                (one,) = store.every(local.parent)[-1:]
                size = sum(each["Size"] for each in files.values())
                listed.append(Remote(one.directory, one.manifest, one.problem, size))
            yield listed

    @contextlib.contextmanager
    def find(self, name: str) -> Iterator[Backup]:
        """Give a copy of a backup, or of the newest for `latest`. Raises ``BackupUnknown`` and what loading raises.

        That it was verified is told to the store afterwards.
        """
        objects = {one: files for one, files in self.objects().items() if manifests.NAME in files}
        chosen = max(objects, default="") if name == "latest" else name
        if chosen not in objects:
            known = ", ".join(sorted(objects)[-3:]) or "none"
            raise BackupUnknown(
                f"no backup {name!r} in {self} (newest: {known}); see `inv backup.list --dir`"
            )
        with tempfile.TemporaryDirectory() as directory:
            local = Path(directory, chosen)
            self.fetch(chosen, list(objects[chosen]), local)
            marker = local / store.VERIFIED
            before = marker.stat().st_mtime_ns if marker.exists() else 0
            yield Backup(local, manifests.load(local))
            if marker.exists() and marker.stat().st_mtime_ns != before:
                self.put(chosen, marker)

    def fetch(self, backup: str, files: list[str], directory: Path) -> None:
        """Copy files of a backup here. Raises ``StoreFailed``, OSError."""
        directory.mkdir(mode=0o700)
        for file in files:
            with said_plainly(self):
                key = f"{self.prefix}{backup}/{file}"
                self.client.download_file(self.name, key, str(directory / file))

    def put(self, backup: str, path: Path) -> None:
        """Copy one file there. Raises ``StoreFailed``."""
        with said_plainly(self):
            self.client.upload_file(str(path), self.name, f"{self.prefix}{backup}/{path.name}")

    def upload(self, directory: Path, backup: str) -> None:
        """Copy a backup there, its manifest last, and delete what was here. Raises ``StoreFailed``."""
        files = sorted(directory.iterdir(), key=lambda path: (path.name == manifests.NAME, path))
        for path in files:
            self.put(backup, path)
        shutil.rmtree(directory)

    def remove(self, backup: str, files: list[str]) -> None:
        """Delete a backup, its manifest first. Raises ``StoreFailed``."""
        for file in sorted(files, key=lambda file: (file != manifests.NAME, file)):
            with said_plainly(self):
                self.client.delete_object(Bucket=self.name, Key=f"{self.prefix}{backup}/{file}")

    def prune(self, *, keep: int, days: int, dry_run: bool) -> None:
        """Delete what ``store.to_prune`` names and what interrupted commands left, each with a line."""
        now, objects = datetime.now(UTC), self.objects()
        with self.every() as backups:
            doomed = [one.id for one in store.to_prune(backups, keep=keep, days=days, now=now)]
        doomed += [
            name
            for name, files in objects.items()
            if manifests.NAME not in files
            and now - max(one["LastModified"] for one in files.values()) > LEFT_BEHIND
        ]
        for name in doomed:
            console.result(f"{'would delete' if dry_run else 'deleting'} {self}/{name}")
            if not dry_run:
                self.remove(name, list(objects[name]))
        if not dry_run:
            self.end_uploads(now)

    def end_uploads(self, now: datetime) -> None:
        """Delete the parts of large files whose upload was interrupted: they cost room and are in no list."""
        with said_plainly(self):
            answer = self.client.list_multipart_uploads(Bucket=self.name, Prefix=self.prefix)
            for one in answer.get("Uploads", []):
                if now - one["Initiated"] > LEFT_BEHIND:
                    self.client.abort_multipart_upload(
                        Bucket=self.name, Key=one["Key"], UploadId=one["UploadId"]
                    )


def connect(credentials: Path | None) -> S3Client:
    """Return a client with the credentials, the region, the address and the authority of a file. Raises ``StoreFailed``, ``BadValue``."""
    import boto3  # noqa: PLC0415 - a large package that few tasks need
    from botocore.config import Config  # noqa: PLC0415 - as above

    authority = None
    if credentials is not None:
        # Before AWS_CA_BUNDLE, which may be that of a proxy.
        authority = backups.keys(credentials).get("ca_bundle")
        # One file has all: boto3 reads the address of the store only from the one that it calls configuration.
        os.environ |= {
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "AWS_CONFIG_FILE": str(credentials),
        }
    with said_plainly("the store"):
        return boto3.session.Session().client(
            "s3",
            verify=authority,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"max_attempts": 4, "mode": "standard"},
                # The newer checksums are more than some stores understand; the manifest has its own.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@contextlib.contextmanager
def said_plainly(place: object) -> Iterator[None]:
    """Raise ``StoreFailed`` for everything that the store or the way to it refuses."""
    from boto3.exceptions import Boto3Error  # noqa: PLC0415 - see above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above

    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise StoreFailed(
            f"{place}: {error}; check the address, and the keys and endpoint_url in the file that {CREDENTIALS_VARIABLE} names"
        ) from error
