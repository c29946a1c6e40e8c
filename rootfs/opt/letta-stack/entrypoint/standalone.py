"""Only the server, or only the migration: for a container whose PostgreSQL, Redis and collector are others.

It needs no root, no capability and no volume: its first process is the server's parent, on a read-only image with
memory at /run, /tmp and /var/lib/letta.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import environment, hardening, landlock, last_words, migrate, patches, paths, serve
from .errors import BadSetting, BadVolume, EncryptionKeyMissing
from .log import log
from .plan import check_authority, make_plan, server_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .database import Database
    from .plan import Plan

_ROOT = Path("/")


def main(step: str) -> None:
    """Become the server (``step`` is "serve") or bring the schema up to date ("migrate"). Raises StartError."""
    hardening.forbid_inspection()
    if step == "serve":
        last_words.stay_behind()
    if os.getuid() == 0:
        raise BadSetting(
            f"/init {step} does not run as root; give the container a user, for instance user: '10001:10001'"
        )
    given = environment.drop_empty(os.environ)
    settings = environment.resolve_files(given, lambda path: Path(path).read_text(encoding="utf-8"))
    plan = dataclasses.replace(make_plan(settings), collector=None)
    check_authority(plan)
    target = required(settings, plan, serving=step == "serve")
    try:
        _write_state(target, plan)
    except OSError as error:
        raise BadVolume(
            f"cannot write {error.filename}: {error.strerror}; give the container a tmpfs of its user, "
            f"uid={os.getuid()}, at {paths.RUN.parent} and at {paths.VOLUME}"
        ) from error
    os.chdir(paths.WORK_DIR)
    take_environment(settings, plan, target)
    hide(secret_files(given, settings))
    patches.install()
    if step == "serve":
        serve.main(migrate.require_newest)
    else:
        migrate.main(import_early=True)


def required(settings: Mapping[str, str], plan: Plan, *, serving: bool) -> Database:
    """Return the database, if everything is given that another mode would embed or make.

    Raises BadSetting, EncryptionKeyMissing.
    """
    if plan.database is None:
        raise BadSetting(
            "there is no PostgreSQL in this mode; set LETTA_PG_URI or LETTA_PG_URI_FILE"
        )
    if not settings.get("LETTA_ENCRYPTION_KEY"):
        raise EncryptionKeyMissing(
            "LETTA_ENCRYPTION_KEY is not set, and this mode keeps none; set it or LETTA_ENCRYPTION_KEY_FILE"
        )
    if serving and plan.redis is None:
        raise BadSetting("there is no Redis in this mode; set LETTA_REDIS_HOST")
    if serving and plan.secure and not settings.get("LETTA_SERVER_PASSWORD"):
        raise BadSetting(
            "the API has no password, and this mode makes none; set LETTA_SERVER_PASSWORD or "
            "LETTA_SERVER_PASSWORD_FILE"
        )
    return plan.database


def secret_files(given: Mapping[str, str], settings: Mapping[str, str]) -> set[Path]:
    """Return the files that were read in the place of variables, links resolved."""
    read = given.keys() - settings.keys()
    return {Path(given[name]).resolve() for name in read}


def take_environment(settings: Mapping[str, str], plan: Plan, target: Database) -> None:
    """Give this process the server's environment. What it was started with stays in /proc, for root alone."""
    server = server_environment(
        settings,
        plan,
        effective_database=target,
        encryption_key=settings["LETTA_ENCRYPTION_KEY"],
        server_password=settings.get("LETTA_SERVER_PASSWORD"),
        home=str(paths.HOME),
    )
    server["LETTA_STACK_STARTED"] = str(time.monotonic())
    # Only to find this package; tools would inherit it.
    server.pop("PYTHONPATH", None)
    os.environ.clear()
    os.environ.update(server)


def hide(files: set[Path]) -> None:
    """Keep this process and its children, agents' tools, from reading these files."""
    if files and not landlock.forbid_reading(files, root=_ROOT):
        log(
            "WARNING: this kernel has no Landlock, so agents' tools can read the secret files; use Linux 5.13 or "
            "newer, with landlock among its security modules"
        )


def _write_state(target: Database, plan: Plan) -> None:
    """Make the directories that the server writes to, and tell the health check whom to ask."""
    for path in (paths.RUN, paths.WORK_DIR, paths.HOME):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    host, port = plan.redis or ("", 0)
    backends = {
        "server": [plan.probe_host, plan.port],
        "postgres": [target.host.strip("[]"), target.port],
        "credentials": [target.user, target.name],
        "redis": [host, port],
        "authorities": plan.authorities,
    }
    paths.BACKENDS.write_text(json.dumps(backends))
