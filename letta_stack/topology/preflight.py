"""What is checked before anything is started. Each finding has its own message and exit code."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import ROOT
from letta_stack.errors import BadDotenv, PortBusy, WrongArchitecture
from letta_stack.topology.runners.compose import PROJECT_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from letta_stack.engine.inspect import Engine
    from letta_stack.topology.runners.protocol import Published

LISTEN = "0A"  # the kernel's name for the state in /proc/net/tcp
ASSIGNMENT = re.compile(
    r"(?:export\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)(?P<middle>\s*=\s*)(?P<value>.*)"
)
CURLY = "\u2018\u2019\u201c\u201d\u201e\u201a"


def dotenv(path: Path = ROOT / ".env") -> None:
    """Raise for the first line of the user's ``.env`` that would not mean what it looks like."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise BadDotenv(f"cannot read {path} as UTF-8 text ({error}); save it as UTF-8") from error
    for number, problem in dotenv_problems(text):
        raise BadDotenv(f"{path.name}:{number}: {problem}")


def dotenv_problems(text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and problem. Values are never repeated: they are keys and passwords.

    Compose takes matching quotes off. What it does not take off becomes part of the value, and the provider then
    rejects the key without saying why.
    """
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = ASSIGNMENT.fullmatch(line.strip())
        if match is None:
            yield number, "not KEY=value; put # before text that is a comment"
            continue
        key, value = match["key"], match["value"].strip()
        if match["middle"] != "=":
            yield number, f"{key} has spaces around =; write {key}=value"
        elif any(char in CURLY for char in value):
            yield number, f"the value of {key} has typographic quotes; use straight ones or none"
        elif value[:1] in {"'", '"'}:
            quote = value[0]
            inner, closed, after = value[1:].partition(quote)
            opened = number
            while not closed and number < len(lines):  # a quoted value may go over several lines
                inner, closed, after = lines[number].partition(quote)
                number += 1
            if not closed:
                number = opened
                yield (
                    opened,
                    f"the quote before the value of {key} is never closed; close or remove it",
                )
            elif after.strip() and not after.strip().startswith("#"):
                yield opened, f"text follows the quoted value of {key}; quote all of it or nothing"
            elif opened == number and inner[:1] in {"'", '"'} and inner[-1:] == inner[:1]:
                yield number, f"the value of {key} is quoted twice; remove the inner quotes"
        elif value[-1:] in {"'", '"'}:
            yield number, f"the value of {key} ends with a quote that was never opened; remove it"


def ports(wanted: list[Published], project: str, flags: Mapping[str, str]) -> None:
    """Raise for the first wanted port that something else than this project holds.

    ``flags`` says by service which flag takes another port.
    """
    for port in wanted:
        instead = f"choose another port: {flags.get(port.service, '--port')} N"
        holders = containers_on(port.port)
        if any(holder_project == project for _, holder_project in holders):
            continue
        if holders:
            name, _ = holders[0]
            raise PortBusy(
                f"port {port.port} is published by container {name}; stop it, or {instead}"
            )
        if is_busy(port):
            owner = owner_of(port.port)
            raise PortBusy(f"port {port.port} is in use by {owner}; stop it, or {instead}")


def containers_on(port: int) -> list[tuple[str, str]]:
    """Return name and compose project of the running containers that publish ``port``."""
    row = f'{{{{.Names}}}}\t{{{{.Label "{PROJECT_LABEL}"}}}}'
    text = process.capture(["docker", "ps", "--filter", f"publish={port}/tcp", "--format", row])
    rows = (line.partition("\t") for line in text.splitlines())
    return [(name, project) for name, _, project in rows]


def is_busy(port: Published) -> bool:
    """Try to take the port, as the engine would."""
    address = port.address or "0.0.0.0"  # noqa: S104 - where the engine would listen
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((address, port.port))
        except PermissionError:
            return False  # a low port is not ours to take, but the engine may
        except OSError:
            return True
    return False


def owner_of(port: int, proc: Path = Path("/proc")) -> str:
    """Name the process that listens on ``port``; needs root for other users' processes."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            inodes |= listening_inodes((proc / "net" / table).read_text(encoding="ascii"), port)
        except OSError:
            continue
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for process_dir in proc.glob("[0-9]*"):
        if not sockets.isdisjoint(open_files(process_dir)):
            name = (process_dir / "comm").read_text(encoding="utf-8").strip()
            return f"{name} (pid {process_dir.name})"
    return "a process that only root can see"


def open_files(process_dir: Path) -> Iterator[str]:
    """Yield what the file descriptors of a process point at; nothing for another user's process."""
    try:
        descriptors = list((process_dir / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            yield str(descriptor.readlink())
        except OSError:
            continue  # closed meanwhile


def listening_inodes(table: str, port: int) -> set[str]:
    """Return the sockets that listen on ``port`` in a table of /proc/net."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        local, state, inode = fields[1], fields[3], fields[9]
        if state == LISTEN and int(local.rpartition(":")[2], 16) == port:
            found.add(inode)
    return found


def architecture(image: str, engine: Engine) -> None:
    """Raise if ``image`` was made for another processor than the engine's."""
    made_for = process.capture(
        ["docker", "image", "inspect", "--format", "{{.Architecture}}", image]
    ).strip()
    if made_for != engine.architecture:
        raise WrongArchitecture(
            f"{image} is for {made_for}, this engine is {engine.architecture}; make the right one: "
            f"inv build --platform linux/{engine.architecture}"
        )
