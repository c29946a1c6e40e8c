"""The files of one project's secrets: made once, checked before each use, replaced whole.

    .secrets/<project>/             0700, the user's
        database-uri, ...           0600, of the user whom the server runs as
        database-login.sql, ...     0644, hashes for PostgreSQL and Redis; the directory keeps others from them
        fingerprints.json           0600, to notice changes by hand

Compose mounts the files as they are, with the owner that they have here, and a container without root cannot read
another user's. So the server runs as the owner of the files: the user who called `inv up`, or a user of the image's if
that was root.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from letta_stack.base.paths import SECRETS
from letta_stack.errors import SecretDrifted, SecretsExposed, SecretsLost
from letta_stack.secrets import kinds, scram

if TYPE_CHECKING:
    from pathlib import Path

IMAGE_UID = 10001  # the image's user `letta`
FINGERPRINTS = "fingerprints.json"
NEW = ".new"  # the next value, while it is being rotated in
OLD = ".old"  # the last value, until nobody uses it any more
PRIVATE = 0o600
PUBLIC = 0o644


@dataclass(frozen=True)
class Store:
    """The secrets of one project."""

    directory: Path

    @classmethod
    def of(cls, project: str) -> Store:
        """Return the secrets of the project of that name; raise ``SecretsExposed`` if they are another user's."""
        directory = SECRETS / project
        try:
            if directory.exists():
                next(directory.iterdir(), None)
        except PermissionError:
            raise SecretsExposed(
                f"{directory} belongs to somebody else; work as the user who made it"
            ) from None
        return cls(directory)

    def ensure(self, *, data: str) -> None:
        """Make what is missing and check what is there.

        ``data`` names the volume with the project's database, "" if there is none yet.
        Raises SecretsExposed, BadSecret, SecretDrifted, SecretsLost.
        """
        missing = [name for name in kinds.NAMES if not self.path(name).exists()]
        if data and missing:
            raise SecretsLost(
                f"the volume {data} has data, but {self.directory} lacks {', '.join(missing)}: restore the "
                f"directory from your backup. Without one, `inv down --volumes` deletes the data; to keep it and lose "
                f"only what the server encrypted, see docs/topologies/prod.md"
            )
        self.directory.parent.mkdir(mode=0o700, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        for name in missing:
            self.write(name, kinds.new(name))
        self.check()
        self.record()

    def check(self) -> None:
        """Raise if a file is readable for others, guessable, or not what it was."""
        _check_mode(self.directory, 0o077)
        known = self.fingerprints()
        for name in kinds.NAMES:
            self.check_private(name)
            value = self.read(name)
            kinds.check(name, value)
            if self.path(name + OLD).exists():
                continue  # being rotated: the new value may be there before its fingerprint
            if name in known and not scram.matches(kinds.password(name, value), known[name]):
                raise SecretDrifted(
                    f"{self.path(name)} was changed by hand, and what uses it was not: put the old value "
                    f"back, then run `inv secrets.rotate {name}`"
                )

    def record(self) -> None:
        """Bring what is derived from the secrets up to date."""
        values = {name: self.read(name) for name in kinds.NAMES}
        before = self.fingerprints()
        known = dict(before)
        for name, value in values.items():
            if name not in known or not scram.matches(kinds.password(name, value), known[name]):
                known[name] = kinds.fingerprint(name, value)
        if known != before:
            self.write(FINGERPRINTS, json.dumps(known))
        for name, text in kinds.derived(values, known).items():
            self.publish(name, text)

    def publish(self, name: str, text: str) -> None:
        """Write what services with users of their own read, unless it is there already."""
        if not self.path(name).exists() or self.path(name).read_text("utf-8") != text:
            self.write(name, text, mode=PUBLIC)

    def check_private(self, name: str) -> None:
        """Raise ``SecretsExposed`` if others can read the file."""
        _check_mode(self.path(name), 0o177)

    def fingerprints(self) -> dict[str, str]:
        """Return the verifier of each secret as it was last recorded."""
        path = self.path(FINGERPRINTS)
        known: dict[str, str] = json.loads(path.read_text("ascii")) if path.exists() else {}
        return known

    def path(self, name: str) -> Path:
        """Return where a file is."""
        return self.directory / name

    def read(self, name: str) -> str:
        """Return a secret; raise ``SecretsLost`` or ``SecretsExposed`` if this user cannot."""
        try:
            return self.path(name).read_text("utf-8").strip()
        except FileNotFoundError:
            raise SecretsLost(
                f"there is no {self.path(name)}; `inv up` makes it at its first start"
            ) from None
        except (PermissionError, UnicodeDecodeError) as error:
            raise SecretsExposed(
                f"cannot read {self.path(name)} ({error}); work as the user who owns it"
            ) from error

    def write(self, name: str, text: str, *, mode: int = PRIVATE) -> None:
        """Write a file so that it is there whole or not at all, also after a power failure."""
        temporary = self.path(f".{name}.tmp")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else text + "\n")
            os.fchmod(file.fileno(), mode)
            if os.getuid() == 0:
                os.fchown(file.fileno(), IMAGE_UID, IMAGE_UID)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path(name))

    @property
    def variables(self) -> dict[str, str]:
        """What compose needs to know: where the files are, and who can read them."""
        return {"LETTA_STACK_SECRETS": str(self.directory), **self.user}

    @property
    def user(self) -> dict[str, str]:
        """Who the containers are that read the files; also before they are made."""
        path = self.path(kinds.ENCRYPTION_KEY)
        if path.exists():
            uid, gid = path.stat().st_uid, path.stat().st_gid
        elif os.getuid() == 0:
            uid = gid = IMAGE_UID
        else:
            uid, gid = os.getuid(), os.getgid()
        return {"LETTA_STACK_UID": str(uid), "LETTA_STACK_GID": str(gid)}


def _check_mode(path: Path, forbidden: int) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise SecretsExposed(f"{path} is a link; put the file itself there")
    if found.st_mode & forbidden:
        wanted = "700" if stat.S_ISDIR(found.st_mode) else "600"
        raise SecretsExposed(
            f"others can read {path} (mode {found.st_mode & 0o777:o}); run `chmod {wanted} {path}`, and "
            "rotate what they may have seen: inv secrets.rotate"
        )
    if found.st_uid == 0 and not stat.S_ISDIR(found.st_mode):
        raise SecretsExposed(
            f"{path} belongs to root, and no container runs as root; run `chown {IMAGE_UID}:{IMAGE_UID} {path}`"
        )
