"""The key of the archive for point-in-time recovery, beside the server's secrets in `.secrets/<project>/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.errors import SecretsLost
from letta_stack.secrets import kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.secrets.store import Store

KEY = "archive-key"
CONFIGURATION = "archive-key.conf"
AUTHORITY = "archive-ca.pem"


def ensure(store: Store, *, repository: str, place: Mapping[str, str], authority: str) -> None:
    """Make the key and pgBackRest's file with it, or check them.

    ``repository`` names the volume that was written with the key, "" if there is none yet. ``place`` are the options of pgBackRest
    for a repository that is in no volume, keys of a store among them, and ``authority`` is the PEM text by which that store is
    known, "" for the usual ones. Raises SecretsLost, SecretsExposed, BadSecret.
    """
    if not store.path(KEY).exists():
        if repository:
            raise SecretsLost(
                f"the volume {repository} has an archive, but {store.path(KEY)} is gone: restore it from your backup (it is "
                f"among the secrets), or give the archive up: `docker volume rm {repository}` while the stack is down"
            )
        store.write(KEY, kinds.new(KEY))
    store.check_private(KEY)
    kinds.check(KEY, store.read(KEY))
    # For PostgreSQL's user, who cannot read the owner's files. The directory keeps everybody else out.
    options = {"repo1-cipher-pass": store.read(KEY), **place}
    lines = [f"{name}={value}\n" for name, value in options.items()]
    store.publish(CONFIGURATION, "".join(["[global]\n", *lines]))
    store.publish(AUTHORITY, authority)
