"""First thing in the container, as root: directories, secrets, service directories; then the supervisor."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import environment, paths
from .errors import BadVolume, VolumeInUse
from .log import log
from .plan import (
    check_authority,
    embedded_database,
    make_plan,
    server_environment,
)
from .secret_store import encryption_key, kept_or_new
from .telemetry import LOOPBACK, collector_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .plan import Plan

_ROOT = 0
_POSTGRES = 999
_LETTA = 10001
_OTELCOL = 10002
_REDIS = 10003

_SUPERVISOR = "/usr/bin/s6-svscan"
_BASE_VARIABLES = ("PATH", "LANG", "TZ")
"""What every process of the container gets. Nothing that could be a secret: /proc shows it."""


def main() -> None:
    """Prepare everything and become the supervisor. Raises StartError."""
    if os.getuid() != _ROOT:
        raise BadVolume(
            "the container must start as root (its services do not run as root); remove `user:` or --user"
        )
    settings = environment.resolve_files(
        environment.drop_service_links(environment.drop_empty(os.environ)),
        lambda path: Path(path).read_text(encoding="utf-8"),
    )
    plan = make_plan(settings)
    check_authority(plan)
    user = environment.user(settings, "LETTA_STACK_USER", default=f"{_LETTA}:{_LETTA}")
    try:
        _directories(*user)
        if plan.database is None:
            _claim_volume()
        _write_state(settings, plan)
        _write(paths.USER, f"{user[0]}:{user[1]}\n", 0o600)
    except PermissionError as error:
        raise BadVolume(
            f"cannot write {error.filename}: {error.strerror}; give {paths.VOLUME} a writable volume and "
            "/run a tmpfs, and keep the capabilities CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID and SETUID"
        ) from error
    except OSError as error:
        raise BadVolume(f"cannot write {error.filename}: {error.strerror}") from error
    _service_directories(plan.services)
    log(_summary(plan))
    base = {name: settings[name] for name in _BASE_VARIABLES if name in settings}
    os.execve(_SUPERVISOR, [_SUPERVISOR, str(paths.SCAN_DIR)], base)  # noqa: S606 - there is no shell to want


def _summary(plan: Plan) -> str:
    postgres = "embedded" if plan.database is None else plan.database.address
    redis = "embedded" if plan.redis is None else f"{plan.redis[0]}:{plan.redis[1]}"
    collector = "none" if plan.collector is None else f"embedded ({plan.collector})"
    access = "password required" if plan.secure else "OPEN, LETTA_SERVER_SECURE is false"
    return f"PostgreSQL {postgres}, Redis {redis}, collector {collector}, API {access}"


def _directories(uid: int, gid: int) -> None:
    """Make what the services write to, on the volume and in /run, each owned by its user; the server's is ``uid``."""
    for path, user, group, mode in (
        (paths.VOLUME, _ROOT, _ROOT, 0o755),
        (paths.SECRETS, _ROOT, _ROOT, 0o700),
        (paths.VOLUME / "postgres", _POSTGRES, _POSTGRES, 0o700),
        (paths.VOLUME / "redis", _REDIS, _REDIS, 0o700),
        (paths.VOLUME / "otel", _OTELCOL, _OTELCOL, 0o750),
        (paths.VOLUME / "otel" / "storage", _OTELCOL, _OTELCOL, 0o700),
        # The collector's group may enter: it reads the server's log file.
        (paths.HOME, uid, _OTELCOL, 0o750),
        (paths.POSTGRES_SOCKETS, _POSTGRES, _POSTGRES, 0o755),
        (paths.WORK_DIR, uid, gid, 0o700),
    ):
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, user, group)
        path.chmod(mode)
    for path in (paths.RUN, paths.SCAN_DIR):
        # Left over from before a `docker restart`.
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        path.chmod(0o711)
    paths.PRIVATE.symlink_to(tempfile.mkdtemp(prefix="letta-stack-", dir=paths.MEMORY))


def _claim_volume() -> None:
    """Hold a lock on the volume for as long as the container lives.

    PostgreSQL's own check looks for the process in postmaster.pid, which says nothing across two containers, and which
    may hit an innocent process of this one after a SIGKILL. Under the lock a leftover pid file is certainly stale.
    """
    descriptor = os.open(paths.VOLUME / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - the function takes no keyword
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            return  # a file system without locks: PostgreSQL's own check has to do
        raise VolumeInUse(
            f"another running container has its PostgreSQL on this volume ({paths.VOLUME}); stop it, or use another "
            "volume, or let both use one external PostgreSQL"
        ) from error
    with contextlib.suppress(FileNotFoundError):
        (paths.VOLUME / "postgres" / "postmaster.pid").unlink()


def _write_state(settings: Mapping[str, str], plan: Plan) -> None:
    """Write what the services need to know; nobody but root can read what is secret."""
    database = plan.database or embedded_database(kept_or_new(paths.SECRETS / "postgres-password"))
    password = settings.get("LETTA_SERVER_PASSWORD")
    if plan.secure and not password:
        password = kept_or_new(paths.SERVER_PASSWORD)
    server = server_environment(
        settings,
        plan,
        effective_database=database,
        encryption_key=encryption_key(paths.SECRETS, settings.get("LETTA_ENCRYPTION_KEY")),
        server_password=password,
        home=str(paths.HOME),
    )
    # CLOCK_MONOTONIC is one clock for all processes.
    server["LETTA_STACK_STARTED"] = str(time.monotonic())
    _write(paths.SERVER_ENVIRONMENT, json.dumps(server), 0o600)
    _write(
        paths.COLLECTOR_ENVIRONMENT,
        "".join(
            f"export {name}={shlex.quote(value)}\n"
            for name, value in collector_settings(settings).items()
        ),
        0o600,
    )
    backends = {
        "server": [plan.probe_host, plan.port],
        "postgres": [database.host.strip("[]"), database.port],
        "credentials": [database.user, database.name],
        "redis": list(plan.redis or (LOOPBACK, 6379)),
        "authorities": plan.authorities,
    }
    _write(paths.BACKENDS, json.dumps(backends), 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    path.chmod(mode)


def _service_directories(services: list[str]) -> None:
    """Fill the scan directory with directories of links.

    s6 needs to write beside a service's files, and the image may be read-only. The files themselves stay where they
    are, because a tmpfs on /run is noexec by default.
    """
    for name in (".s6-svscan", *services):
        directory = paths.SCAN_DIR / name
        directory.mkdir()
        for file in (paths.SERVICES / name).iterdir():
            (directory / file.name).symlink_to(file)
