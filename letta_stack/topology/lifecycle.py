"""`inv up`, `inv down` and what is between: one topology as an operator handles it."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, http_wait, lock
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.certs import store
from letta_stack.engine import inspect
from letta_stack.errors import (
    CommandFailed,
    InterruptedByUser,
    NotConfirmed,
    WaitTimedOut,
)
from letta_stack.topology import (
    archive,
    backups,
    checks,
    exports,
    free_space,
    inputs,
    language_model,
    members,
    monitoring,
    preflight,
    report,
    running,
    secret_files,
    signed,
    source_tree,
    telemetry_store,
    upgrading,
)
from letta_stack.topology.catalogue import SERVER, health_path
from letta_stack.topology.runners.protocol import published, summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from letta_stack.engine.inspect import Engine
    from letta_stack.image.sources import Sources
    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.protocol import Published, State

# A first start migrates an empty database; under emulation that takes minutes.
HEALTHY_SECONDS = 300.0
# The migration of a large database takes as long as it takes; this is for one that hangs.
ONE_SHOT_SECONDS = 3600.0
FIRST_ANSWER_SECONDS = 30.0  # from "all healthy" to an answer on the published port


def up(project: Project, sources: Sources) -> None:
    """Check, prepare, start, and return when every service does its work and the API answers."""
    try:
        with lock.held(project.name):
            upgrading.refuse(project)
            bring_up(project, sources)
    except KeyboardInterrupt:
        raise InterruptedByUser(
            f"interrupted; what was started keeps running: `inv up {project.flags}` goes on from here, "
            f"`inv down {project.flags}` removes it and keeps the data"
        ) from None


def bring_up(project: Project, sources: Sources) -> None:
    """Do what ``up`` does, for whoever has the lock of the project."""
    project, config = prepare(project, sources)
    try:
        start(project)
    finally:
        if project.topology.monitoring:
            monitoring.migrated(project.name, project.runner.states())
    if project.topology.monitoring:
        monitoring.teach(project)
    free_space.teach(project)
    if project.topology.published:
        tell_of_api(project, config)
    else:
        console.result(report.data_services(project, exports.lines(project)))


def prepare(project: Project, sources: Sources) -> tuple[Project, dict[str, Any]]:
    """Check everything, and make all that compose needs: secrets, images.

    Returns:
        The project with every variable, and its rendered model.

    """
    running_engine = inspect.require()
    backups.prepare(project)
    archived = archive.wanted(project)
    members.check(project)
    project, config = checks.before_anything(project, running_engine)
    if archived:
        archive.check(project, config)
    if project.topology.secrets:
        project = project.with_variables(secret_files.prepare(project))
    if project.topology.members:
        members.prepare(project)
    if archived:
        project = project.with_variables(archive.prepare(project))
    if project.topology.monitoring:
        project = project.with_variables(monitoring.prepare(project))
    return with_images(project, sources, config, running_engine), config


def with_images(
    project: Project, sources: Sources, config: Mapping[str, Any], running_engine: Engine
) -> Project:
    """Make every image be there, and return the project with their names; refuse data that they cannot take over."""
    image = config["services"][SERVER]["image"] if project.topology.has_server else ""
    optional = [one.name for one in project.topology.services if one.optional]
    pulled = [config["services"][name]["image"] for name in optional if name in config["services"]]
    variables = sources.prepare(
        project.topology.images, running_engine, server=image, pulled=pulled
    )
    if archive.wanted(project):
        variables |= archive.image(variables, sources)
    if project.topology.members:
        variables |= members.image(variables, sources)
    if image:
        preflight.architecture(image, running_engine)
        if not signed.built_here(image):
            signed.check(project, image)
    inputs.data_directory(project, config, variables)
    telemetry_store.check(project, config, variables)
    return source_tree.with_debugger(project.with_variables(variables), sources)


def tell_of_api(project: Project, config: Mapping[str, Any]) -> None:
    """Wait until the API answers where it is published, and say where that is."""
    ports = published(config)
    address = next(port for port in ports if port.service == project.topology.published)
    answer(project, address)
    server = next(state for state in project.runner.states() if state.service == SERVER)
    if warning := language_model.silence(project, server.container):
        console.say(f"warning: {warning}")
    console.result(report.success(project, address, server.container, config))
    if project.topology.monitoring:
        console.result(monitoring.dashboards(project, ports))


def answer(project: Project, address: Published) -> None:
    """Wait until the API answers on its published port."""
    try:
        context = store.context(project.name) if address.scheme == "https" else None
        http_wait.wait_for_status(
            address.url + health_path(project.topology),
            timeout=FIRST_ANSWER_SECONDS,
            context=context,
        )
    except WaitTimedOut as error:
        raise report.failure(
            project, f"every service is healthy, but the API does not answer: {error}"
        ) from error


def start(project: Project) -> None:
    """Create and start the containers, and wait until each of them does its work."""
    with Progress(f"starting {project.name}", detail=lambda: overview(project)):
        try:
            project.runner.up()
        except CommandFailed as error:
            raise report.failure(
                project, f"compose could not start {project.name}: {error.last_line}"
            ) from error
        wait_ready(project)


def wait_ready(project: Project) -> None:
    """Wait until every service does its work; what starts beside a one-shot service has its time after that one's end."""
    for timeout, reached in ((ONE_SHOT_SECONDS, prepared), (HEALTHY_SECONDS, ready)):
        try:
            wait_until(partial(reached, project), timeout=timeout, interval=0.5, describe="")
        except WaitTimedOut as error:
            reason = f"not healthy after {timeout:g} s: {overview(project)}"
            raise report.failure(project, reason) from error


def prepared(project: Project) -> bool:
    """Say whether every one-shot service has done its work; raise if it failed."""
    return not pending(project, checked(project))


def ready(project: Project) -> bool:
    """Say whether every service is ready, each replica of it; raise if one cannot become it any more."""
    states, one_shot = checked(project), project.topology.one_shots
    done = [state for state in states if state.service in one_shot and state.ended_well]
    working = [state.service for state in states if state.ready and state.service not in one_shot]
    working += [state.service for state in done]
    # Also those that nobody asked for just now: `inv restart` knows no --replicas.
    if any(not state.ready and state not in done for state in states):
        return False
    return all(working.count(name) >= count for name, count in project.expected.items())


def checked(project: Project) -> list[State]:
    """Return the containers' states; raise if one failed. Who waits for a one-shot service may be unhealthy."""
    states, one_shot = project.runner.states(), project.topology.one_shots
    waiting = pending(project, states)
    broken = [
        state
        for state in states
        if state.failed
        and not (state.service in one_shot and state.ended_well)
        and not (waiting and state.health == "unhealthy")
    ]
    if broken:
        raise report.failure(project, ", ".join(map(str, broken)))
    return states


def pending(project: Project, states: Sequence[State]) -> bool:
    """Say whether a one-shot service is still at work."""
    one_shot = project.topology.one_shots
    return any(state.service in one_shot and not state.ended_well for state in states)


def overview(project: Project) -> str:
    """Say how far each service is."""
    return summarise(project.runner.states(), project.expected)


def down(project: Project, *, volumes: bool, yes: bool) -> None:
    """Remove the containers; with ``volumes`` also the data, once that is confirmed."""
    if volumes:
        names = project.runner.volumes()
        if names and not yes:
            confirm(f"delete the data in {', '.join(names)}?")
    project.runner.down(volumes=volumes)
    if volumes:
        members.forget(project.name)


def confirm(question: str) -> None:
    """Ask on a terminal; a script must say `--yes`."""
    if not sys.stdin.isatty():
        raise NotConfirmed(f"{question} nobody is here to ask; add --yes if you mean it")
    if input(f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
        raise NotConfirmed("nothing was deleted or stopped")


def ps(project: Project) -> int:
    """Show the containers; return the exit code."""
    return project.runner.ps()


def logs(project: Project, *, service: str, tail: int, follow: bool) -> int:
    """Show the logs; return the exit code."""
    return project.runner.logs(service=service, tail=tail, follow=follow)


def config(project: Project) -> int:
    """Show the rendered model; return the exit code."""
    return project.runner.show_config()


def execute(project: Project, *, service: str, command: Sequence[str]) -> int:
    """Run a command in a service; return its exit code."""
    running.require_command(command)
    running.require(project, project.runner.states())
    service = service or (SERVER if project.topology.has_server else project.topology.names[0])
    return project.runner.execute(service, command)


def restart(project: Project, *, service: str) -> None:
    """Restart a service, or all, in the order of their dependencies, and wait until all do their work."""
    running.require(project, project.runner.states())
    running.require_service(project, service)
    project.runner.restart(service)
    with Progress(f"waiting for {project.name}", detail=lambda: overview(project)):
        wait_ready(project)
