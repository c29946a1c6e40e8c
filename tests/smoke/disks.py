"""Small disks for databases: memory, of which the engine makes a volume of any size."""

from __future__ import annotations

from python_on_whales import docker

from letta_stack.topology import secret_files
from letta_stack.topology.project import Project


def make(topology: str, project: str, mib: int) -> str:
    """Make the volume of a project's database before the project is there; return its name.

    What is on it lasts as long as some container has it.
    """
    embedded = topology == "single"
    short_name, owner = ("letta", 0) if embedded else ("db", 999)
    if not embedded:
        # Before the volume: `inv up` makes no new secrets beside data.
        secret_files.prepare(Project.of(topology, project=project))
    name = f"{project}_{short_name}"
    docker.volume.create(
        name,
        driver="local",
        options={
            "type": "tmpfs",
            "device": "tmpfs",
            "o": f"size={mib}m,uid={owner},gid={owner},mode=755",
        },
        labels={
            "com.docker.compose.project": project,
            "com.docker.compose.volume": short_name,
        },
    )
    return name
