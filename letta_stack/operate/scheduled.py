"""The service `letta-backup`: a backup at an interval, old ones deleted, and a metric that says when the last one was made.

It runs in a container of its own, with neither the engine's socket nor root: PostgreSQL by its network, secrets as files.
"""

from __future__ import annotations

import base64
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from letta_stack.base import console
from letta_stack.errors import LettaStackError, NotRunning
from letta_stack.operate import backup, store
from letta_stack.operate.bucket import Bucket
from letta_stack.operate.place import Place
from letta_stack.operate.postgres import OWNER, Direct
from letta_stack.operate.secrets_bundle import SECRET_NAME, Secrets, effective_key
from letta_stack.pins.file import Pins
from letta_stack.topology import backups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from letta_stack.operate.store import Backup

SECRETS = Path("/run/secrets")
STORE = SECRETS / "backup-store"  # where the backup lies is no part of it
PREFIX = "LETTA_STACK_BACKUP_"
RETRY_SECONDS = 30.0
SCHEMA = "SELECT to_regclass('public.alembic_version')"
LONGEST_NAP = 60.0  # a clock that was put right must not cost a day


def connect(uri: str, authority: str) -> Direct:
    """Let this process' programs reach the database of a URI; with an ``authority`` by TLS only."""
    parts = urlsplit(uri)
    os.environ |= {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGSSLMODE": "verify-full" if authority else "disable",
        "PGSSLROOTCERT": authority,
        "PGCONNECT_TIMEOUT": "10",
    }
    name = unquote(parts.path.lstrip("/"))
    database = Direct("", unquote(parts.username or ""), name, "")
    return Direct("", database.superuser, name, database.value(OWNER))


def bundle(directory: Path, environment: Mapping[str, str]) -> Secrets:
    """Collect the secrets as `inv backup.create` finds them in a server's container."""
    files = {
        str(path).lstrip("/"): base64.b64encode(path.read_bytes()).decode()
        for path in sorted(directory.iterdir())
        if path != STORE and path.stat().st_size
    }
    return Secrets(
        encryption_key=effective_key(environment, files),
        files=files,
        environment={
            name: value for name, value in environment.items() if value and SECRET_NAME.search(name)
        },
    )


def due(made: list[Backup], *, interval: int, now: datetime) -> float:
    """Return in how many seconds the next backup has to be made, 0 for at once."""
    usable = [one for one in made if one.manifest]
    if not usable:
        return 0.0
    left = (usable[-1].created + timedelta(seconds=interval) - now).total_seconds()
    # One of the future is of another clock, and does not keep this one from its work.
    return min(max(left, 0.0), float(interval))


def once(place: Place, environment: Mapping[str, str]) -> None:
    """Make a backup. Raises ``LettaStackError``, OSError."""
    secrets = bundle(SECRETS, environment)
    uri = (SECRETS / "database-uri").read_text(encoding="utf-8").strip()
    source = connect(uri, environment.get("LETTA_STACK_INTERNAL_CA", ""))
    if not source.value(SCHEMA):
        raise NotRunning("the database has no schema yet")
    about = {
        "reason": "schedule",
        "topology": "prod",
        "project": environment[f"{PREFIX}PROJECT"],
        "stack_version": Pins.load()["LETTA_STACK_VERSION"],
        "letta_version": metadata.version("letta"),
        "server_image": environment[f"{PREFIX}SERVER_IMAGE"],
        "database_image": environment[f"{PREFIX}DATABASE_IMAGE"],
    }
    to = backup.listed(environment[backups.RECIPIENTS_VARIABLE])
    backup.write(source, secrets, about, directory=place.directory, to=to, bucket=place.bucket)


def naps(place: Place, interval: int) -> Iterator[float]:
    """Yield how long to wait before looking again, until a backup is due. Raises ``StoreFailed``."""
    with place.every() as found:
        made = [one for one in found if one.manifest]
    while seconds := due(made, interval=interval, now=datetime.now(UTC)):
        yield min(seconds, LONGEST_NAP)


def place_of(environment: Mapping[str, str]) -> Place:
    """Return where backups go. Raises ``BadValue``, ``SecretsExposed``."""
    project = environment[f"{PREFIX}PROJECT"]
    address = environment.get(backups.TO_VARIABLE, "")
    bucket = Bucket.of(address, project, str(STORE)) if address else None
    return Place(store.directory_of(project), bucket)


def main() -> None:
    """Work until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    environment = dict(os.environ)
    interval = backups.interval(environment[backups.INTERVAL_VARIABLE])
    keep, days = backups.retention(environment)
    place = place_of(environment)
    while True:
        try:
            for seconds in naps(place, interval):
                time.sleep(seconds)
            once(place, environment)
        except (LettaStackError, OSError) as error:
            console.say(f"no backup: {error}; the next attempt is in {RETRY_SECONDS:.0f} s")
            time.sleep(RETRY_SECONDS)
            continue
        try:
            place.prune(keep=keep, days=days, dry_run=False)
        except (LettaStackError, OSError) as error:
            console.say(f"cannot delete old backups: {error}")


if __name__ == "__main__":
    main()
