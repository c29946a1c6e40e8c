"""The secrets that a database is useless without: collected from the server's container, encrypted for their recipients."""

from __future__ import annotations

import base64
import json
import os
import re
import tarfile
import tempfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.errors import CommandFailed, IdentityWrong

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pyrage import ssh, x25519

KEY_VARIABLE = "LETTA_ENCRYPTION_KEY"
KEY_FILE = "var/lib/letta/secrets/encryption-key"
SECRET_NAME = re.compile(r"(KEY|PASSWORD|SECRET|TOKEN|CREDENTIALS|PG_URI)(_FILE)?$")
# On a machine under load the engine now and then loses what a short-lived container writes.
ATTEMPTS = 3
# Also of a container that does not run, and without the programs of its own start.
COLLECT = "cd / && exec tar -cf - $(ls -d var/lib/letta/secrets run/secrets 2>/dev/null)"


@dataclass(frozen=True)
class Secrets:
    """What somebody needs besides the dump to have the same stack again."""

    encryption_key: str
    files: Mapping[str, str]  # path in the container, without the first slash -> base64
    environment: Mapping[str, str]

    def to_json(self) -> bytes:
        """Write."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Secrets:
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(text))


def collect(container: str) -> Secrets:
    """Read the secrets of a server's container, running or not. Raises ``CommandFailed``."""
    (facts,) = json.loads(process.capture(["docker", "container", "inspect", container]))
    command = [
        *("docker", "run", "--rm", "--network=none", "--pull=never", "--user=0:0"),
        *(f"--volumes-from={container}:ro", "--entrypoint=sh", facts["Image"], "-c", COLLECT),
    ]
    return of(facts["Config"]["Env"] or [], archived(command))


def of(environment: Sequence[str], files: Mapping[str, str]) -> Secrets:
    """Sort out what a server's container has: variables as the engine writes them, and files in Base64."""
    variables = dict(one.partition("=")[::2] for one in environment)
    return Secrets(
        encryption_key=effective_key(variables, files),
        files=files,
        environment={
            name: value for name, value in variables.items() if value and SECRET_NAME.search(name)
        },
    )


def archived(command: Sequence[str]) -> dict[str, str]:
    """Return the files of the archive that a command writes, in Base64. Raises ``CommandFailed``."""
    for _ in range(ATTEMPTS):
        with tempfile.TemporaryFile() as written:
            process.stream(command, stdout=written)
            if written.seek(0, os.SEEK_END) == 0:
                continue
            written.seek(0)
            with tarfile.open(fileobj=written) as archive:
                files = {one.name: archive.extractfile(one) for one in archive if one.isfile()}
                return {
                    name: base64.b64encode(file.read()).decode()
                    for name, file in files.items()
                    if file is not None
                }
    raise CommandFailed(command, 0, "no archive came")


def effective_key(variables: Mapping[str, str], files: Mapping[str, str]) -> str:
    """Return the encryption key as the image's start code finds it: given, given as a file, else its own."""
    if given := variables.get(KEY_VARIABLE):
        return given
    path = variables.get(f"{KEY_VARIABLE}_FILE", "").lstrip("/") or KEY_FILE
    return base64.b64decode(files.get(path, "")).decode().strip()


def encrypt(secrets: Secrets, recipients: Sequence[str]) -> bytes:
    """Encrypt with age, so that each of the recipients can read it. Raises ``IdentityWrong``."""
    import pyrage  # noqa: PLC0415 - a compiled module that few tasks need

    return pyrage.encrypt(secrets.to_json(), [recipient(one) for one in recipients], armored=True)


def recipient(text: str) -> ssh.Recipient | x25519.Recipient:
    """Read the public key of somebody who may decrypt: age's own or an SSH key."""
    import pyrage  # noqa: PLC0415 - see above

    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise IdentityWrong(
            f"{text!r} is no recipient ({error}); give the public key that `age-keygen` prints (age1...), "
            "or a line of an SSH public key file"
        ) from error


def decrypt(sealed: bytes, identity_file: Path) -> Secrets:
    """Decrypt with the identity in a file of `age-keygen` or `ssh-keygen`. Raises ``IdentityWrong``."""
    import pyrage  # noqa: PLC0415 - see above

    try:
        text = identity_file.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.startswith("AGE-SECRET-KEY-")]
        identities: list[ssh.Identity | x25519.Identity] = [
            pyrage.x25519.Identity.from_str(line) for line in lines
        ]
        identities = identities or [pyrage.ssh.Identity.from_buffer(text.encode())]
        return Secrets.from_json(pyrage.decrypt(sealed, identities))
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        raise IdentityWrong(
            f"{identity_file} is no identity ({error}); give the file that `age-keygen -o FILE` wrote"
        ) from error
    except pyrage.DecryptError as error:
        raise IdentityWrong(
            f"the identity in {identity_file} does not open the secrets of this backup ({error}); "
            "give the one whose public key the manifest names under `recipients`"
        ) from error
