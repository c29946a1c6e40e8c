"""Where `--from` leads: a container, a volume, a directory, or a PostgreSQL somewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.errors import BadValue, SourceUnknown
from letta_stack.image import contract
from letta_stack.operate import secrets_bundle
from letta_stack.operate.secrets_bundle import KEY_VARIABLE
from letta_stack.topology.inputs import DATABASE_DIRECTORY
from letta_stack.topology.runners.compose import PROJECT_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("postgresql://", "postgres://")
# Where a container has a data directory, or a directory with one in it: the official images, and our own.
DIRECTORIES = (DATABASE_DIRECTORY, contract.VOLUME)
# A server with one of these has its database in another container.
ELSEWHERE = ("LETTA_PG_URI", "LETTA_PG_HOST", "LETTA_PG_URI_FILE")


@dataclass(frozen=True)
class Place:
    """What `--from` named."""

    what: str  # in words
    uri: str = field(default="", repr=False)
    container: str = ""  # of its PostgreSQL, running
    image: str = ""  # that worked on the directory, "" if nobody knows
    mount: str = (
        ""  # with the data directory in it: the name of a volume, or a path of this machine
    )
    key: str | None = field(default=None, repr=False)  # "": its server has none; None: nobody knows
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # of its server


def find(text: str) -> Place:
    """Say what ``text`` names. Raises ``SourceUnknown``."""
    if not text:
        raise BadValue(
            "nothing to take over: --from CONTAINER, VOLUME, DIRECTORY or postgresql://..."
        )
    if text.startswith(SCHEMES):
        return Place("a PostgreSQL server", uri=text)
    if facts := inspected("container", text):
        return of_container(facts)
    path = Path(text).expanduser()
    if path.is_dir():
        return Place(f"the directory {path.resolve()}", mount=str(path.resolve()))
    if "/" not in text and inspected("volume", text):
        return Place(f"the volume {text}", mount=text)
    raise SourceUnknown(
        f"--from {text!r} is no container, volume or directory here (`docker ps --all`, `docker volume ls`), "
        "and no postgresql://USER@HOST:PORT/DATABASE"
    )


def inspected(kind: str, name: str) -> dict[str, Any]:
    """Return what the engine knows of a container or volume, nothing if there is none."""
    answer = process.probe(["docker", kind, "inspect", name])
    found: list[dict[str, Any]] = json.loads(answer.stdout) if answer.ok else []
    return found[0] if found else {}


def of_container(facts: Mapping[str, Any]) -> Place:
    """Find the database of a container: in it, or in the one beside it in the same compose project."""
    family = [facts, *siblings(facts)]
    holder = next((one for where in DIRECTORIES for one in family if data_mount(one, where)), None)
    if holder is None:
        raise SourceUnknown(
            f"neither {name_of(facts)} nor a container of its compose project has a data directory at "
            f"{' or '.join(DIRECTORIES)}; name the PostgreSQL itself: --from postgresql://USER@HOST:PORT/DATABASE"
        )
    server = next((one for one in family if is_server(one)), None)
    running = holder["State"]["Running"]
    what = f"the {'running' if running else 'stopped'} container {name_of(holder)}"
    return Place(
        what,
        container=name_of(holder) if running else "",
        image=holder["Image"],
        mount=next(filter(None, (data_mount(holder, where) for where in DIRECTORIES))),
        key=key_of(server) if server else None,
        environment=environment_of(server) if server else {},
    )


def siblings(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the other containers of the same compose project."""
    project = (facts["Config"]["Labels"] or {}).get(PROJECT_LABEL)
    if not project:
        return []
    ids = process.capture(
        [
            "docker",
            "ps",
            "--all",
            "--quiet",
            "--no-trunc",
            f"--filter=label={PROJECT_LABEL}={project}",
        ]
    ).split()
    return [one for id_ in ids if id_ != facts["Id"] and (one := inspected("container", id_))]


def data_mount(facts: Mapping[str, Any], where: str) -> str:
    """Return what a container has mounted at ``where``, "" if nothing, or if its database is elsewhere."""
    variables = environment_of(facts)
    if any(variables.get(name) for name in ELSEWHERE):
        return ""
    found = (mount for mount in facts["Mounts"] if mount["Destination"] == where)
    return next(
        (str(one["Name"] if one["Type"] == "volume" else one["Source"]) for one in found), ""
    )


def is_server(facts: Mapping[str, Any]) -> bool:
    """Say whether a container runs the server: all images of it listen there."""
    return f"{contract.API_PORT}/tcp" in (facts["Config"].get("ExposedPorts") or {})


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the encryption key of a server's container, "" if it works without one."""
    variables = environment_of(facts)
    ours = any(mount["Destination"] == contract.VOLUME for mount in facts["Mounts"])
    if ours or f"{KEY_VARIABLE}_FILE" in variables:
        return secrets_bundle.collect(name_of(facts)).encryption_key
    return variables.get(KEY_VARIABLE, "")


def environment_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of a container."""
    return dict(one.partition("=")[::2] for one in facts["Config"]["Env"] or [])


def name_of(facts: Mapping[str, Any]) -> str:
    """Return the name of a container."""
    return str(facts["Name"]).removeprefix("/")
