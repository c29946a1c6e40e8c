"""What a rendered model asks for and cannot work: found before anything starts, each with what to do."""

from __future__ import annotations

import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import process
from letta_stack.errors import BadSettings, OtherPostgres, WrongOwner
from letta_stack.image import contract
from letta_stack.topology.catalogue import DATABASE, MEMBERS, SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from letta_stack.topology.project import Project

    Model = Mapping[str, Any]

DATABASE_DIRECTORY = "/var/lib/postgresql/data"
MEMBER_DIRECTORY = "/data/cluster"  # as images/patroni has it, where the volume is at /data
USER = re.compile(r"(?P<uid>\d+)(?::(?P<gid>\d+))?")
# What made a data directory, and what the image runs. Debian's packages have the programs on no path.
VERSIONS = """
PATH="$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)"
cat "$1/PG_VERSION" 2>/dev/null || echo none
postgres --version
"""
MAJOR = re.compile(r"(?P<data>\d+|none)\n\D*(?P<program>\d+)")


def settings(config: Model) -> None:
    """Raise ``BadSettings`` for what the server's container would refuse: half a database, an address that cannot work."""
    service = config["services"].get(SERVER, {})
    given = {
        name: str(value).replace("$$", "$")
        for name, value in (service.get("environment") or {}).items()
        if value is not None
    }
    if problem := contract.problem_of_settings(given):
        raise BadSettings(f"{problem} (in .env or the shell)")


def bind_mounts(config: Model) -> None:
    """Raise ``WrongOwner`` if a service without root could not use a directory or file of this machine."""
    if sys.platform != "linux":
        return  # an engine in a virtual machine gives containers the rights of its user
    for name, service in config["services"].items():
        user = USER.fullmatch(str(service.get("user") or ""))
        if user is None:
            continue  # a supervisor that starts as root gives each service its files
        uid, gid = int(user["uid"]), int(user["gid"] or user["uid"])
        for mount in service.get("volumes") or []:
            if mount["type"] == "bind":
                _bind_mount(name, mount, uid, gid)


def _bind_mount(service: str, mount: Model, uid: int, gid: int) -> None:
    source, writes = Path(mount["source"]), not mount.get("read_only")
    advice = f"run `chown -R {uid}:{gid} {source}`, or mount a named volume"
    try:
        found = source.stat()
    except FileNotFoundError:
        if not writes:
            return  # the engine says so
        raise WrongOwner(
            f"{service} writes to {source}, which does not exist, and the engine would make it for root alone; make it, "
            f"then {advice}"
        ) from None
    except PermissionError:
        return  # of another user's, whom the engine may let in
    if lacking := _lacking(found.st_mode, uid == found.st_uid, gid == found.st_gid, writes=writes):
        raise WrongOwner(
            f"{service} runs as user {uid} and cannot {lacking} {source} (owner {found.st_uid}, mode "
            f"{stat.S_IMODE(found.st_mode):o}); {advice}"
        )


def _lacking(mode: int, owner: bool, group: bool, *, writes: bool) -> str:  # noqa: FBT001 - facts, not flags
    bits = (mode >> (6 if owner else 3 if group else 0)) & 0o7
    if writes and not bits & 0o2:
        return "write to"
    needed = 0o5 if stat.S_ISDIR(mode) else 0o4
    return "" if bits & needed == needed else "read"


@dataclass(frozen=True)
class Data:
    """A data directory of PostgreSQL, and the image that would work on it."""

    source: str  # the name of a volume, or a path of this machine
    image: str
    major: int  # of the version that made it
    program: int  # of the image's version
    embedded: bool  # whether it is in the server's own volume


def data_directory(project: Project, config: Model, variables: Mapping[str, str]) -> None:
    """Raise ``OtherPostgres`` if the data on a volume are of another major version than the image's PostgreSQL.

    ``variables`` name the third-party images.
    """
    embedded = DATABASE.name not in config["services"]
    members = project.topology.members
    name = SERVER if embedded else next(iter(members), DATABASE.name)
    image = config["services"].get(name, {}).get("image", "") if embedded else ""
    if runs(project, name, image or variables.get(DATABASE.image, "")):
        return
    found = data(config, variables)
    if found and found.major != found.program:
        advice = f"`inv upgrade {project.flags}` brings them over, --dry-run says how"
        if members:
            advice = (
                "bring them into a project of another name by a backup, see docs/topologies/ha.md"
            )
        raise OtherPostgres(
            f"{found.source} has the data of PostgreSQL {found.major}, and {found.image} is PostgreSQL "
            f"{found.program}, which cannot read them: {advice}"
        )


def runs(project: Project, service: str, image: str) -> bool:
    """Tell whether a service runs with this very image: it has shown that it can read its data."""
    for state in project.runner.states():
        if state.service == service and state.state == "running":
            form = ["--format", "{{.Config.Image}}"]
            return (
                process.probe(["docker", "inspect", *form, state.container]).stdout.strip() == image
            )
    return False


def data(config: Model, variables: Mapping[str, str]) -> Data | None:
    """Return the data directory of a project's database, None if it has none yet."""
    embedded = DATABASE.name not in config["services"]
    members = [one.name for one in MEMBERS if one.name in config["services"]]
    directory = "/data/postgres" if embedded else MEMBER_DIRECTORY if members else "/data"
    target = contract.VOLUME if embedded else DATABASE_DIRECTORY
    for name in [SERVER] if embedded else members or [DATABASE.name]:
        service = config["services"].get(name, {})
        image = service.get("image", "") if embedded else variables.get(DATABASE.image, "")
        for source in sources(config, service, target):
            match = MAJOR.search(look(source, image, VERSIONS, directory))
            if match and match["data"] != "none":
                return Data(source, image, int(match["data"]), int(match["program"]), embedded)
    return None


def sources(config: Model, service: Model, target: str) -> Iterator[str]:
    """Yield where the directory of a container comes from, if it is there: a path, or the full name of a volume."""
    for mount in service.get("volumes") or []:
        if mount["target"] == target:
            source = str(mount.get("source", ""))
            if mount["type"] == "bind":
                yield source
            elif process.probe(
                ["docker", "volume", "inspect", config["volumes"][source]["name"]]
            ).ok:
                # Not only one that compose has made: it also takes what somebody restored under that name.
                yield config["volumes"][source]["name"]


def look(source: str, image: str, script: str, directory: str) -> str:
    """Return what a shell script says in a container of ``image`` that has ``source`` at /data and cannot change it.

    ``directory`` is the script's $1. What an image without a shell or without the program says is "".
    """
    options = ["--rm", "--network=none", "--pull=never", "--user=0", "--entrypoint=sh"]
    command = ["docker", "run", *options, f"--volume={source}:/data:ro", image, "-c", script]
    return process.probe([*command, "sh", directory]).stdout
