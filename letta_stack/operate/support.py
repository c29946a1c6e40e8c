"""`inv support-bundle`: what somebody who helps needs to see, and nothing that they must not."""

from __future__ import annotations

import base64
import io
import json
import platform
import tarfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from letta_stack.base import process
from letta_stack.base.paths import ROOT, SECRETS, STATE
from letta_stack.errors import LettaStackError
from letta_stack.operate import secrets_bundle
from letta_stack.operate.doctor import run
from letta_stack.operate.redact import redact
from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from letta_stack.topology.project import Project

LOG_LINES = 2000
SECONDS = 20.0


def collect(project: Project) -> dict[str, str]:
    """Return the files of a bundle, redacted. What cannot be had is said in its place."""
    parts: dict[str, Callable[[], str]] = {
        "versions.txt": versions,
        "doctor.json": lambda: run.as_json(run.diagnose(project)),
        "config.json": lambda: json.dumps(project.runner.config(), indent=1),
        "history.json": lambda: history(project),
    }
    for state in project.runner.states():
        name = state.container
        parts[f"inspect/{name}.json"] = lambda name=name: command("docker", "inspect", name)  # type: ignore[misc]
        parts[f"logs/{name}.txt"] = lambda name=name: logs(name)  # type: ignore[misc]
    known = known_secrets(project)
    return {name: redact(attempt(part), known) for name, part in parts.items()}


def attempt(part: Callable[[], str]) -> str:
    """Return a part, or why there is none."""
    try:
        return part()
    except (LettaStackError, OSError) as error:
        return f"could not be had: {error}\n"


def command(*argv: str) -> str:
    """Return what a command says, also to standard error."""
    answer = process.probe(argv, timeout=SECONDS)
    return answer.stdout + answer.stderr


def logs(container: str) -> str:
    """Return the end of a container's log."""
    return command("docker", "logs", "--timestamps", f"--tail={LOG_LINES}", container)


def versions() -> str:
    """Name what is installed."""
    return "\n".join(
        [
            f"{platform.platform()}, Python {platform.python_version()}",
            command("docker", "version"),
            command("docker", "compose", "version"),
            command("git", "-C", str(ROOT), "log", "-1", "--oneline"),
            (ROOT / "pins.env").read_text(encoding="utf-8"),
        ]
    )


def history(project: Project) -> str:
    """Return what was deployed."""
    path = STATE / project.name / "deployments.json"
    return path.read_text(encoding="utf-8") if path.is_file() else "[]"


def known_secrets(project: Project) -> set[str]:
    """Return every secret of a project that can be found: its files, its containers' variables, .env."""
    found: set[str] = set()
    for state in project.runner.states():
        text = process.probe(
            ["docker", "inspect", "--format={{json .Config.Env}}", state.container]
        )
        variables = dict(one.partition("=")[::2] for one in json.loads(text.stdout or "[]") or [])
        found |= values_of(variables)
        if state.service == SERVER:
            try:
                secrets = secrets_bundle.collect(state.container)
            except LettaStackError:
                continue
            for encoded in secrets.files.values():
                found |= lines_of(base64.b64decode(encoded).decode(errors="replace"))
    return found | local_secrets(project.name)


def local_secrets(name: str) -> set[str]:
    """Return every secret of a stack that this machine has: its files, and .env."""
    found: set[str] = set()
    for path in [*(SECRETS / name).glob("*"), ROOT / ".env"]:
        if path.is_file():
            content = path.read_text(encoding="utf-8", errors="replace")
            if path.name == ".env":
                rows = [line.partition("=")[::2] for line in content.splitlines()]
                found |= values_of({key.strip(): text.strip("'\" ") for key, text in rows})
            else:
                found |= lines_of(content)
    return found


def values_of(variables: dict[str, str]) -> set[str]:
    """Return the values of the variables whose name says that they are secret."""
    return {
        text for name, text in variables.items() if text and secrets_bundle.SECRET_NAME.search(name)
    }


def lines_of(content: str) -> set[str]:
    """Return each line of a secret file: a value alone, or a key of several lines."""
    return {line.strip() for line in content.splitlines() if line.strip()}


def write(project: Project, target: str) -> Path:
    """Write a bundle and return where it is."""
    return pack(project.name, collect(project), target)


def pack(name: str, files: Mapping[str, str], target: str) -> Path:
    """Write the files of a bundle to an archive and return where it is; ``target`` "" is the usual place."""
    moment = datetime.now(UTC)
    path = Path(target or f"letta-stack-support-{name}-{moment:%Y%m%dT%H%M%SZ}.tar.gz")
    with tarfile.open(path, "x:gz") as archive:
        for file, text in sorted(files.items()):
            content = text.encode()
            member = tarfile.TarInfo(f"{path.name.removesuffix('.tar.gz')}/{file}")
            member.size, member.mtime, member.mode = len(content), int(time.time()), 0o600
            archive.addfile(member, io.BytesIO(content))
    path.chmod(0o600)
    return path.resolve()
