"""Checks of this machine and its engine."""

from __future__ import annotations

import shutil
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import http_wait, process
from letta_stack.certs import store
from letta_stack.engine import disk, inspect
from letta_stack.errors import LettaStackError
from letta_stack.operate import table
from letta_stack.operate.doctor.model import Finding, fail, ok, skip, warn
from letta_stack.pins import check as pins_check
from letta_stack.secrets.store import Store
from letta_stack.topology import dotenv
from letta_stack.topology.catalogue import health_path
from letta_stack.topology.runners.protocol import TLS_PORT

if TYPE_CHECKING:
    from letta_stack.operate.doctor.model import Subject

DISK_SHARE = 0.1
MEMORY_SHARE = 0.1
HEALTH_SECONDS = 3.0


def engine(_: object) -> Finding:
    """Look whether the engine is one that this project works with."""
    found = inspect.look()
    if problem := inspect.problem_of(found):
        return fail("engine", str(found), str(problem))
    return ok("engine", str(found))


def room(_: Subject) -> Finding:
    """Look at the disk of the engine."""
    root = Path(inspect.look().root_dir)
    if not root.is_dir():
        return skip("disk", "the engine runs on another machine")
    usage = shutil.disk_usage(root)
    seen = f"{table.size(usage.free)} of {table.size(usage.total)} free in {root}"
    fix = "free some room: `docker builder prune`, `inv backup.prune`, `docker image prune`"
    if usage.free < disk.ROOM_TO_RUN:
        return fail("disk", seen, fix)
    return warn("disk", seen, fix) if usage.free < usage.total * DISK_SHARE else ok("disk", seen)


def memory(_: Subject, path: Path = Path("/proc/meminfo")) -> Finding:
    """Look at the memory of this machine."""
    if not path.is_file():
        return skip("memory", "only Linux says it")
    lines = dict(line.split(":") for line in path.read_text(encoding="ascii").splitlines())
    total, free = (int(lines[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    seen = f"{table.size(free)} of {table.size(total)} available"
    if free < total * MEMORY_SHARE:
        return warn("memory", seen, "stop what else runs here, or use fewer replicas")
    return ok("memory", seen)


def services(subject: Subject) -> Finding:
    """Look whether every container does its work."""
    one_shot = subject.project.topology.one_shots
    if not subject.states:
        return fail("services", "none", f"start them: `inv up {subject.project.flags}`")
    bad = [
        one
        for one in subject.states
        if not (one.ready or (one.service in one_shot and one.ended_well))
    ]
    missing = sorted(set(subject.project.expected) - {one.service for one in subject.states})
    if bad or missing:
        seen = ", ".join([*map(str, bad), *(f"{name} missing" for name in missing)])
        flags = subject.project.flags
        return fail("services", seen, f"see `inv logs {flags}`, then `inv up {flags}`")
    return ok("services", f"{len(subject.states)} containers do their work")


def port(subject: Subject) -> Finding:
    """Ask the API on its published port."""
    container = subject.running(subject.project.topology.published)
    # Of the engine, not of the files: this stack may have been started with --port.
    lines = process.probe(["docker", "port", container]).stdout.splitlines() if container else []
    if not lines:
        return skip("API", "not published")
    # Where the gateway speaks TLS, plain HTTP is there as well, and only says where HTTPS is.
    secure = next((line for line in lines if line.startswith(f"{TLS_PORT}/")), "")
    address = (secure or lines[-1]).rpartition(" ")[2]
    address = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104 - read
    url = f"{'https' if secure else 'http'}://{address}"
    parts = http_wait.split(url + health_path(subject.project.topology))
    context = store.context(subject.project.name) if secure else None
    try:
        status = http_wait.ask(parts, timeout=HEALTH_SECONDS, context=context)
    except OSError as error:
        return fail("API", f"{url}: {error}", "see the check of the services")
    seen = f"{url} answers with {status}"
    return ok("API", seen) if status == HTTPStatus.OK else fail("API", seen, "see `inv logs`")


def pins(_: object) -> Finding:
    """Compare the pins with the files that repeat them."""
    try:
        pins_check.check()
    except LettaStackError as error:
        return fail("pins", str(error), "`inv pins --check` shows all")
    return ok("pins", "agree")


def settings(_: object) -> Finding:
    """Read .env as compose will."""
    try:
        dotenv.check()
    except LettaStackError as error:
        return fail("settings", str(error), "correct the line")
    return ok("settings", ".env means what it looks like")


def secrets(subject: Subject) -> Finding:
    """Look at owner, mode and content of the secret files."""
    if not subject.project.topology.secrets:
        return skip("secrets", "the container keeps them on its volume")
    return secret_files(subject.project.name)


def secret_files(name: str) -> Finding:
    """Look at the secret files of a stack."""
    mine = Store.of(name)
    try:
        mine.check()
    except LettaStackError as error:
        return fail("secrets", str(error), "`inv secrets.list` names the files")
    return ok("secrets", f"{mine.directory} is private and unchanged")
