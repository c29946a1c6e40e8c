"""A store with S3's API as the place of the archive: the address and the file with keys that backups have, as pgBackRest's options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from letta_stack.errors import BadSettings, LettaStackError
from letta_stack.topology import backups
from letta_stack.topology.backups import CREDENTIALS_VARIABLE, SCHEME

if TYPE_CHECKING:
    from letta_stack.topology.project import Project

VARIABLE = "LETTA_STACK_PITR_TO"
CA_PATH = "/etc/pgbackrest/ca.pem"
NAME = "archive"  # beside the backups of the project, whose names are times


@dataclass(frozen=True)
class Place:
    """Options of pgBackRest, and the PEM text of the authority that the store's certificate needs, "" for the usual ones."""

    options: dict[str, str]
    authority: str


def place(project: Project) -> Place:
    """Return where the archive is to be; without the setting it is in the volume. Raises ``BadSettings``."""
    address = project.setting(VARIABLE)
    if not address:
        return Place({}, "")
    if not address.startswith(SCHEME):
        raise BadSettings(
            f"{VARIABLE} is {address!r}; give a place such as {SCHEME}bucket/prefix, or unset it for the volume"
        )
    named = project.setting(CREDENTIALS_VARIABLE)
    if not named:
        raise BadSettings(f"{VARIABLE} needs keys: {CREDENTIALS_VARIABLE} has to name a file")
    try:
        bucket, prefix = backups.parts(address, project.name)
        path = Path(named).expanduser()
        backups.check_credentials(path)
        return of(backups.keys(path), bucket, f"/{prefix}{NAME}", path)
    except LettaStackError as error:
        raise BadSettings(f"{VARIABLE}: {error}") from error


def of(keys: dict[str, str], bucket: str, directory: str, path: Path) -> Place:
    """Say the same to pgBackRest. Raises ``BadSettings`` for what is missing, and for a store without TLS."""
    for name in ("aws_access_key_id", "aws_secret_access_key", "region"):
        if not keys.get(name):
            raise BadSettings(f"{path} lacks {name} below [default]; add it")
    url = urlsplit(keys.get("endpoint_url", "https://"))
    if url.scheme != "https":
        raise BadSettings(
            f"{path}: endpoint_url is {url.geturl()!r}, and pgBackRest speaks only TLS; give https://HOST, with ca_bundle = FILE for "
            "an authority of your own"
        )
    options = {
        "repo1-type": "s3",
        "repo1-path": directory,
        "repo1-s3-bucket": bucket,
        "repo1-s3-endpoint": url.hostname or f"s3.{keys['region']}.amazonaws.com",
        "repo1-s3-region": keys["region"],
        "repo1-s3-key": keys["aws_access_key_id"],
        "repo1-s3-key-secret": keys["aws_secret_access_key"],
        # Stores of one's own have no name for each bucket.
        "repo1-s3-uri-style": "path" if url.hostname else "host",
    }
    if url.port:
        options["repo1-storage-port"] = str(url.port)
    authority = ""
    if bundle := keys.get("ca_bundle"):
        try:
            authority = Path(bundle).expanduser().read_text(encoding="utf-8")
        except OSError as error:
            raise BadSettings(
                f"{path}: ca_bundle names {bundle}, which cannot be read ({error.strerror})"
            ) from error
        options["repo1-storage-ca-file"] = CA_PATH
    return Place(options, authority)
