"""`inv up`, `inv down` and what is between, for a topology on a Docker Swarm."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, lock, process
from letta_stack.base.paths import STATE
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.engine import inspect
from letta_stack.errors import (
    ClusterLacks,
    ClusterUnreachable,
    CommandFailed,
    NotRunning,
    RolloutFailed,
    WaitTimedOut,
)
from letta_stack.secrets.store import Store
from letta_stack.topology import running
from letta_stack.topology.catalogue import GATEWAY, GATEWAY_HEALTH_PATH, SERVER
from letta_stack.topology.lifecycle import confirm
from letta_stack.topology.render import choices, files, text
from letta_stack.topology.render.swarm import stack
from letta_stack.topology.render.swarm.services import ATTEMPTS, DATA_LABEL
from letta_stack.topology.runners.protocol import published, summarise
from letta_stack.topology.runners.swarm import Swarm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.image.sources import Sources
    from letta_stack.topology.clustered import Clustered

READY_SECONDS = 900.0
ANSWER_SECONDS = 60.0
ROLLED_BACK = {"rollback_started", "rollback_completed", "rollback_paused", "paused"}


def up(cluster: Clustered, sources: Sources, *, yes: bool) -> None:  # noqa: ARG001 - a swarm has no contexts to take for another
    """Check, deploy, and return when every task does its work.

    Args:
        cluster: the topology, the stack's name and the user's choices.
        sources: where images come from.
        yes: nothing to say yes to.

    """
    with lock.held(cluster.name):
        _up(cluster, sources)


def _up(cluster: Clustered, sources: Sources) -> None:
    options = choices.swarm(cluster.name, cluster.given)
    engine = inspect.require()
    require_manager()
    label_data_host()
    image = cluster.model()["services"][SERVER]["image"]
    variables = sources.prepare(cluster.topology.images, engine, server=image)
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
    for note in made.notes:
        console.say(f"not expressed: {note}")
    file = write(cluster.name, made.content, stack.config_files(mounted))
    expected = {
        name: int(body["deploy"].get("replicas", 1))
        for name, body in made.content["services"].items()
    }
    with Progress(f"starting {cluster.name}", detail=lambda: summarise(mine.states(), expected)):
        before = mine.failures()
        try:
            mine.deploy(file, made.variables)
        except CommandFailed as error:
            raise RolloutFailed(f"docker could not deploy the stack: {error.last_line}") from error
        wait(mine, expected, cluster.topology.one_shots, before)
        answer(mine, model)
    (port, *_) = published(model)
    console.result(
        f"{cluster.name} is up; the API is on port {port.port} of the host that runs the gateway\n"
        f"password: {store.path('server-password')}"
    )


def require_manager() -> None:
    """Raise ``ClusterUnreachable`` if the engine manages no swarm."""
    state = json.loads(process.capture(["docker", "info", "--format={{json .Swarm}}"]))
    if not state.get("ControlAvailable"):
        raise ClusterUnreachable(
            f"this engine manages no swarm (it is {state.get('LocalNodeState') or 'inactive'}); make one with "
            "`docker swarm init`, or choose a manager with `docker context use`"
        )


def label_data_host() -> None:
    """Let the only host have the volumes; raise ``ClusterLacks`` if there are several and none of them does."""
    ids = process.capture(["docker", "node", "ls", "--quiet"]).split()
    nodes = json.loads(process.capture(["docker", "node", "inspect", *ids]))
    if any((one["Spec"].get("Labels") or {}).get(DATA_LABEL) == "true" for one in nodes):
        return
    if len(ids) > 1:
        raise ClusterLacks(
            f"no host has the label {DATA_LABEL}, so nobody knows where the database's volume is; choose one: "
            f"`docker node update --label-add {DATA_LABEL}=true HOST`"
        )
    process.run(["docker", "node", "update", "--label-add", f"{DATA_LABEL}=true", ids[0]])


def write(name: str, content: Mapping[str, Any], configs: Mapping[str, str]) -> Path:
    """Write a stack file and what it names; return where it is."""
    directory = STATE / f"{name}.stack"
    directory.mkdir(parents=True, exist_ok=True)
    for file, body in configs.items():
        (directory / file).write_text(body, encoding="utf-8")
    path = directory / "stack.yaml"
    path.write_text(text.dump([content]), encoding="utf-8")
    return path


def wait(
    mine: Swarm, expected: Mapping[str, int], one_shots: frozenset[str], before: Mapping[str, str]
) -> None:
    """Wait until every task does its work; raise ``RolloutFailed``. Tasks that had failed ``before`` say nothing."""
    reached = partial(ready, mine, expected, one_shots, before)
    try:
        wait_until(reached, timeout=READY_SECONDS, interval=1.0, describe="")
    except WaitTimedOut as error:
        overview = summarise(mine.states(), expected)
        raise RolloutFailed(f"not ready after {READY_SECONDS:g} s: {overview}") from error


def answer(mine: Swarm, model: Mapping[str, Any]) -> None:
    """Wait until the gateway has found a server, asked in its own container; raise ``RolloutFailed``."""
    try:
        container = mine.container(GATEWAY.name)
    except NotRunning:
        console.say("the gateway runs on another host, so it was not asked whether the API answers")
        return
    (port, *_) = model["services"][GATEWAY.name]["ports"]
    url = f"http://127.0.0.1:{port['target']}{GATEWAY_HEALTH_PATH}"
    command = ["docker", "exec", container, "curl", "--silent", "--fail", url]
    try:
        wait_until(
            lambda: process.probe(command).ok, timeout=ANSWER_SECONDS, interval=0.5, describe=""
        )
    except WaitTimedOut as error:
        raise RolloutFailed(
            f"every task runs, but the gateway reached no server for {ANSWER_SECONDS:g} s: `docker service logs "
            f"{mine.name}_{GATEWAY.name}`"
        ) from error


def ready(
    mine: Swarm, expected: Mapping[str, int], one_shots: frozenset[str], before: Mapping[str, str]
) -> bool:
    """Say whether every task does its work, and no update is under way; raise ``RolloutFailed`` if one was taken back."""
    updates = mine.updates()
    for service, state in updates.items():
        if state in ROLLED_BACK:
            raise RolloutFailed(
                f"the new tasks of {service} did not become healthy, and the old ones are back: `docker service ps "
                f"{mine.name}_{service}`"
            )
    new = [service for task, service in mine.failures().items() if task not in before]
    for service in one_shots:
        if new.count(service) > ATTEMPTS:
            raise RolloutFailed(
                f"{service} has failed {ATTEMPTS + 1} times: `docker service logs {mine.name}_{service}`"
            )
    states = mine.states()
    done = [
        one.service for one in states if one.ready or (one.service in one_shots and one.ended_well)
    ]
    return "updating" not in updates.values() and all(
        done.count(service) >= count for service, count in expected.items()
    )


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
    expected = dict.fromkeys(mine.updates(), 1)
    before = mine.failures()
    mine.restart(service)
    with Progress(f"waiting for {cluster.name}", detail=lambda: summarise(mine.states(), expected)):
        wait(mine, expected, cluster.topology.one_shots, before)
        answer(mine, cluster.model())
