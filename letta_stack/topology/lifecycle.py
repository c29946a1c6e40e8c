"""`inv up`, `inv down` and what is between: one topology as an operator handles it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from letta_stack.base import console, http_wait, lock
from letta_stack.base.progress import Progress
from letta_stack.base.wait import wait_until
from letta_stack.certs import store
from letta_stack.engine import disk, inspect
from letta_stack.errors import (
    BadValue,
    CommandFailed,
    InterruptedByUser,
    NotConfirmed,
    NotRunning,
    WaitTimedOut,
)
from letta_stack.policy.lint import refuse_published_data
from letta_stack.topology import (
    capacity,
    deployed,
    dotenv,
    exports,
    monitoring,
    preflight,
    report,
    secret_files,
)
from letta_stack.topology.catalogue import HEALTH_PATH, SERVER
from letta_stack.topology.runners.protocol import published, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_stack.image.sources import Sources
    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.protocol import Published

# A first start migrates an empty database; under emulation that takes minutes.
HEALTHY_SECONDS = 300.0
ANSWER_SECONDS = 30.0  # from "all healthy" to an answer on the published port


def up(project: Project, sources: Sources) -> None:
    """Check, prepare, start, and return when every service does its work and the API answers."""
    try:
        with lock.held(project.name):
            _up(project, sources)
    except KeyboardInterrupt:
        raise InterruptedByUser(
            f"interrupted; what was started keeps running: `inv up {project.flags}` goes on from here, "
            f"`inv down {project.flags}` removes it and keeps the data"
        ) from None


def _up(project: Project, sources: Sources) -> None:
    running_engine = inspect.require()
    dotenv.check()
    project = project.with_variables(
        capacity.variables(running_engine) | deployed.variables(project.name)
    )
    config = project.runner.config()
    secret_files.single_source(config)
    project = project.counted(config)
    capacity.check(config, project.expected, running_engine)
    ports = published(config)
    refuse_published_data(project.topology.name, config)
    preflight.ports(ports, project.name, project.port_flags)
    preflight.open_api(ports, config)
    if project.topology.tls:
        preflight.certificate(project.name)
    disk.check(running_engine, build=False)
    if project.topology.secrets:
        project = project.with_variables(secret_files.prepare(project))
    if project.topology.monitoring:
        project = project.with_variables(monitoring.prepare(project))
    if project.topology.has_server:
        environment = config["services"][SERVER]["environment"]
        for warning in preflight.loopback_settings(environment):
            console.say(f"warning: {warning}")

    image = config["services"][SERVER]["image"] if project.topology.has_server else ""
    variables = sources.prepare(project.topology.images, running_engine, server=image)
    project = project.with_variables(variables)
    if image:
        preflight.architecture(image, running_engine)

    try:
        start(project)
    finally:
        if project.topology.monitoring:
            monitoring.migrated(project.name, project.runner.states())
    if project.topology.monitoring:
        monitoring.teach(project)
    if project.topology.published:
        address = next(port for port in ports if port.service == project.topology.published)
        answer(project, address)
        server = next(state for state in project.runner.states() if state.service == SERVER)
        environment = config["services"][SERVER]["environment"]
        console.result(report.success(project, address, server.container, environment))
        if project.topology.monitoring:
            console.result(monitoring.dashboards(project, ports))
    else:
        console.result(report.data_services(project, exports.lines(project)))


def answer(project: Project, address: Published) -> None:
    """Wait until the API answers on its published port."""
    try:
        context = store.context(project.name) if address.scheme == "https" else None
        http_wait.wait_for_status(
            address.url + HEALTH_PATH, timeout=ANSWER_SECONDS, context=context
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
    """Wait until every service does its work."""
    try:
        wait_until(lambda: ready(project), timeout=HEALTHY_SECONDS, interval=0.5, describe="")
    except WaitTimedOut as error:
        reason = f"not healthy after {HEALTHY_SECONDS:g} s: {overview(project)}"
        raise report.failure(project, reason) from error


def ready(project: Project) -> bool:
    """Say whether every service is ready, each replica of it; raise if one cannot become it any more."""
    states = project.runner.states()
    one_shot = {one.name for one in project.topology.services if one.one_shot}
    done = [state for state in states if state.service in one_shot and state.ended_well]
    if broken := [state for state in states if state.failed and state not in done]:
        raise report.failure(project, ", ".join(map(str, broken)))
    working = [state.service for state in states if state.ready and state.service not in one_shot]
    working += [state.service for state in done]
    # Also those that nobody asked for just now: `inv restart` knows no --replicas.
    if any(not state.ready and state not in done for state in states):
        return False
    return all(working.count(name) >= count for name, count in project.expected.items())


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


def require_running(project: Project) -> None:
    """Raise if no container of the project exists."""
    if not project.runner.states():
        raise NotRunning(f"{project.name} is not up; start it with `inv up {project.flags}`")


def execute(project: Project, *, service: str, command: Sequence[str]) -> int:
    """Run a command in a service; return its exit code."""
    if not command:
        raise BadValue("no command given; write it after --, for instance `inv exec -- id`")
    require_running(project)
    service = service or (SERVER if project.topology.has_server else project.topology.names[0])
    return project.runner.execute(service, command)


def restart(project: Project, *, service: str) -> None:
    """Restart a service, or all, in the order of their dependencies, and wait until all do their work."""
    require_running(project)
    if service and service not in project.topology.names:
        known = ", ".join(project.topology.names)
        raise BadValue(
            f"--service {service!r} is not in {project.topology.name}; use one of: {known}"
        )
    project.runner.restart(service)
    with Progress(f"waiting for {project.name}", detail=lambda: overview(project)):
        wait_ready(project)
