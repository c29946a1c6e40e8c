"""`inv up`, `inv down` and what is between, for a topology on a Docker Swarm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, lock
from letta_stack.base.paths import STATE
from letta_stack.base.progress import Progress
from letta_stack.engine import inspect
from letta_stack.errors import (
    CommandFailed,
    RolloutFailed,
)
from letta_stack.secrets.store import Store
from letta_stack.topology import running, swarm_checks
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.lifecycle import confirm
from letta_stack.topology.render import choices, files, text
from letta_stack.topology.render.swarm import stack
from letta_stack.topology.runners.protocol import published, summarise
from letta_stack.topology.runners.swarm import Swarm, image_of
from letta_stack.topology.swarm_state import answer, wait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.image.sources import Sources
    from letta_stack.topology.clustered import Clustered

CHOICES = "letta-stack.choices"
"""A label of the servers: the flags with which `inv up` started them, as JSON."""
EARLIER = "letta-stack.earlier"
"""A label of the servers: the image that they ran before the present one."""
EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Prepared:
    """What is ready to be deployed: the swarm was asked for everything that it needs."""

    cluster: Clustered
    mine: Swarm
    model: Mapping[str, Any]
    made: stack.Stack
    configs: Mapping[str, str]  # their content, by the file beside the stack file
    expected: Mapping[str, int]  # how many tasks each service should have


def up(cluster: Clustered, sources: Sources, *, yes: bool) -> None:  # noqa: ARG001 - a swarm has no contexts to take for another
    """Check, deploy, and return when every task does its work.

    Args:
        cluster: the topology, the stack's name and the user's choices.
        sources: where images come from.
        yes: nothing to say yes to.

    """
    with lock.held(cluster.name):
        one = prepare(cluster, sources)
        for note in one.made.notes:
            console.say(f"not expressed: {note}")
        apply(one)
        (port, *_) = published(one.model)
        console.result(
            f"{cluster.name} is up; the API is on port {port.port} of every host\n"
            f"password: {Store.of(cluster.name).path('server-password')}"
        )


def prepare(
    cluster: Clustered, sources: Sources, *, variables: Mapping[str, str] = EMPTY
) -> Prepared:
    """Make the stack file, and check that every host can run it; ``variables`` are for the model. Nothing is deployed."""
    options = choices.swarm(cluster.name, cluster.given)
    engine = inspect.require()
    swarm_checks.require_manager()
    hosts = swarm_checks.hosts()
    swarm_checks.label_data_host(hosts)
    image = cluster.model(variables)["services"][SERVER]["image"]
    variables = {**variables, **sources.prepare(cluster.topology.images, engine, server=image)}
    mine = Swarm(cluster.name)
    store = Store.of(cluster.name)
    database = f"{cluster.name}_db"
    store.ensure(data=database if database in mine.volumes() else "")
    model = cluster.model(variables)
    versions = {
        name: stack.version(Path(body["file"]).read_bytes())
        for name, body in model["secrets"].items()
    }
    mounted = files.read(model)
    made = stack.render(
        model, mounted, stack.Options(options.name, options.replicas, options.encrypted, versions)
    )
    services = made.content["services"]
    remember(services[SERVER], mine.services().get(SERVER), cluster.given)
    swarm_checks.images(cluster.name, services, hosts, encrypted=options.encrypted)
    expected = {
        name: sum(one.takes for one in hosts)
        if body["deploy"].get("mode") == "global"
        else int(body["deploy"].get("replicas", 1))
        for name, body in services.items()
    }
    return Prepared(cluster, mine, model, made, stack.config_files(mounted), expected)


def remember(
    server: dict[str, Any], present: Mapping[str, Any] | None, given: Mapping[str, str]
) -> None:
    """Write down at the servers with which flags they were started, and what they ran before."""
    labels = {CHOICES: json.dumps({key: one for key, one in given.items() if one}, sort_keys=True)}
    if present:
        image = image_of(present)
        earlier = (present["Spec"].get("Labels") or {}).get(EARLIER, "")
        labels[EARLIER] = image if image != server["image"] else earlier
    server["deploy"]["labels"] = {**server["deploy"].get("labels", {}), **labels}


def apply(one: Prepared) -> None:
    """Deploy what was prepared, and wait until every task does its work; raise ``RolloutFailed``."""
    cluster, mine = one.cluster, one.mine
    file = write(cluster.name, one.made.content, one.configs)
    with Progress(
        f"starting {cluster.name}", detail=lambda: summarise(mine.states(), one.expected)
    ):
        before = mine.failures()
        try:
            mine.deploy(file, one.made.variables)
        except CommandFailed as error:
            raise RolloutFailed(f"docker could not deploy the stack: {error.last_line}") from error
        wait(mine, one.expected, cluster.topology.one_shots, before)
        answer(mine, one.model)


def write(name: str, content: Mapping[str, Any], configs: Mapping[str, str]) -> Path:
    """Write a stack file and what it names; return where it is."""
    directory = STATE / f"{name}.stack"
    directory.mkdir(parents=True, exist_ok=True)
    for file, body in configs.items():
        (directory / file).write_text(body, encoding="utf-8")
    path = directory / "stack.yaml"
    path.write_text(text.dump([content]), encoding="utf-8")
    return path


def down(cluster: Clustered, *, volumes: bool, yes: bool) -> None:
    """Remove the services; with ``volumes`` also the data on this host, once that is confirmed."""
    mine = Swarm(cluster.name)
    names = mine.volumes() if volumes else []
    if names and not yes:
        confirm(f"delete the data in {', '.join(names)}?")
    mine.down(volumes=volumes)


def ps(cluster: Clustered) -> int:
    """Show the tasks; return the exit code."""
    return Swarm(cluster.name).ps()


def logs(cluster: Clustered, *, service: str, tail: int, follow: bool) -> int:
    """Show the logs of a service; return the exit code."""
    return Swarm(cluster.name).logs(service=service or SERVER, tail=tail, follow=follow)


def execute(cluster: Clustered, *, service: str, command: Sequence[str]) -> int:
    """Run a command in a service; return its exit code."""
    running.require_command(command)
    mine = Swarm(cluster.name)
    running.require(cluster, mine.states())
    return mine.execute(service or SERVER, command)


def restart(cluster: Clustered, *, service: str) -> None:
    """Replace the tasks of a service, or of all, and wait until they do their work."""
    running.require_service(cluster, service)
    mine = Swarm(cluster.name)
    running.require(cluster, mine.states())
    before = mine.failures()
    mine.restart(service)
    wait_ready(cluster, service, before)


def wait_ready(
    cluster: Clustered, service: str = "", before: Mapping[str, str] | None = None
) -> None:
    """Wait until every task of a service, or of all, does its work and the API answers; raise ``RolloutFailed``.

    Args:
        cluster: the stack.
        service: the one that is waited for, "" for all.
        before: tasks that had failed before, which say nothing; None for all that have failed so far.

    """
    mine = Swarm(cluster.name)
    wanted = mine.wanted(sum(one.takes for one in swarm_checks.hosts()))
    expected = {name: count for name, count in wanted.items() if service in {"", name}}
    known = mine.failures() if before is None else before
    with Progress(f"waiting for {cluster.name}", detail=lambda: summarise(mine.states(), expected)):
        wait(mine, expected, cluster.topology.one_shots, known)
        answer(mine, cluster.model())
