"""`inv up`, `inv down` and what is between: one topology as an operator handles it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from letta_stack import engine, http_wait, preflight, process
from letta_stack.compose import PROJECT_LABEL, published, summarise
from letta_stack.errors import (
    BadValue,
    CommandFailed,
    InterruptedByUser,
    NotConfirmed,
    NotRunning,
    ServiceFailed,
    WaitTimedOut,
)
from letta_stack.progress import Progress
from letta_stack.topology import HEALTH_PATH, SERVER
from letta_stack.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from letta_stack.compose import Published, Stack, State
    from letta_stack.engine import Engine

HEALTHY_SECONDS = (
    300.0  # a first start migrates an empty database; under emulation that takes minutes
)
ANSWER_SECONDS = 30.0  # from "all healthy" to an answer on the published port
EVIDENCE_LINES = 25
OFF = {"false", "0", "no", "off"}  # what the image takes for it
PASSWORD_FILE = "/var/lib/letta/secrets/server-password"  # noqa: S105 - where it is, not what it is


def up(stack: Stack, *, prepare: Callable[[Stack, Engine], Mapping[str, str]]) -> None:
    """Check, prepare, start, and return when the API answers.

    ``prepare`` makes or pulls the images that are missing, and returns the variables that name them.
    """
    try:
        _up(stack, prepare)
    except KeyboardInterrupt:
        raise InterruptedByUser(
            f"interrupted; what was started keeps running: `inv up {stack.flags}` goes on from here, "
            f"`inv down {stack.flags}` removes it and keeps the data"
        ) from None


def _up(stack: Stack, prepare: Callable[[Stack, Engine], Mapping[str, str]]) -> None:
    running_engine = engine.require()
    preflight.dotenv()
    config = stack.config()
    ports = published(config)
    preflight.ports(ports, stack.project)
    preflight.disk(running_engine, build=False)

    stack = stack.with_variables(prepare(stack, running_engine))
    preflight.architecture(config["services"][SERVER]["image"], running_engine)

    start(stack)
    address = next(port for port in ports if port.service == stack.topology.published)
    try:
        http_wait.wait_for_status(address.url + HEALTH_PATH, timeout=ANSWER_SECONDS)
    except WaitTimedOut as error:
        raise failure(
            stack, f"every service is healthy, but the API does not answer: {error}"
        ) from error
    server = next(state for state in stack.states() if state.service == SERVER)
    print(welcome(stack, address, server.container, config["services"][SERVER]["environment"]))


def start(stack: Stack) -> None:
    """Create and start the containers, and wait until each of them does its work.

    Compose's own ``--wait`` now and then ends with success although a service never became healthy, so the
    states are read here.
    """
    with Progress(f"starting {stack.project}", detail=lambda: overview(stack)):
        command = stack.argv("up", "--detach", "--remove-orphans", "--no-build")
        started = process.probe(command, env=stack.variables)
        if not started.ok:
            reason = CommandFailed(command, started.exit_code, started.stderr).last_line
            raise failure(stack, f"compose could not start {stack.project}: {reason}")
        settle(stack)


def settle(stack: Stack) -> None:
    """Wait until every service does its work."""
    try:
        wait_until(lambda: settled(stack), timeout=HEALTHY_SECONDS, interval=0.5, describe="")
    except WaitTimedOut as error:
        reason = f"not healthy after {HEALTHY_SECONDS:g} s: {overview(stack)}"
        raise failure(stack, reason) from error


def settled(stack: Stack) -> bool:
    """Say whether every service is ready; raise if one cannot become it any more."""
    states = stack.states()
    if broken := [state for state in states if state.failed]:
        raise failure(stack, ", ".join(map(str, broken)))
    ready = {state.service for state in states if state.ready}
    return ready.issuperset(stack.topology.services)


def overview(stack: Stack) -> str:
    """Say how far each service is."""
    return summarise(stack.states(), stack.topology.services)


def failure(stack: Stack, reason: str) -> ServiceFailed:
    """Show the logs and health of what failed, and return the error that ends the command."""
    suspects = [state for state in stack.states() if not state.ready]
    for state in suspects:
        print(evidence(state), file=sys.stderr)
    return ServiceFailed(
        f"{reason}; the containers are left for a look: `inv logs {stack.flags}`, then mend the cause "
        f"and run `inv up {stack.flags}` again, or `inv down {stack.flags}`"
    )


def evidence(state: State) -> str:
    """Collect the last answer of the health check and the last lines of the log."""
    from python_on_whales import docker  # noqa: PLC0415 - slow to import, and only needed here

    container = docker.container.inspect(state.container)
    health = container.state.health
    checks = (health.log if health else None) or []
    answer = (checks[-1].output or "").strip() if checks else ""
    lines = [f"--- {state}"]
    if answer:
        lines.append(f"last health check: {answer.splitlines()[-1]}")
    lines.append(f"last {EVIDENCE_LINES} log lines:")
    lines.append(str(docker.container.logs(container, tail=EVIDENCE_LINES)).rstrip())
    return "\n".join(lines)


def welcome(
    stack: Stack, address: Published, container: str, environment: Mapping[str, Any]
) -> str:
    """Say where the API is, how to get the password, and what to type next."""
    read_password = f"docker exec {container} cat {PASSWORD_FILE}"
    authorisation = f' -H "Authorization: Bearer $({read_password})"'
    if str(environment.get("LETTA_SERVER_SECURE")).lower() in OFF:
        access, authorisation = "none: LETTA_SERVER_SECURE=false turns it off", ""
    elif environment.get("LETTA_SERVER_PASSWORD"):
        access = "the LETTA_SERVER_PASSWORD that you set"
        authorisation = ' -H "Authorization: Bearer $LETTA_SERVER_PASSWORD"'
    else:
        access = read_password
    return "\n".join(
        [
            f"the API is at {address.url}",
            f"  password: {access}",
            f"  try:      curl{authorisation} {address.url}/v1/agents/",
            f"  logs:     inv logs {stack.flags}",
            f"  stop:     inv down {stack.flags}   (keeps the data)",
        ]
    )


def down(stack: Stack, *, volumes: bool, yes: bool) -> None:
    """Remove the containers; with ``volumes`` also the data, once that is confirmed."""
    if volumes:
        mine = f"label={PROJECT_LABEL}={stack.project}"
        names = process.capture(["docker", "volume", "ls", "--quiet", "--filter", mine]).split()
        if names and not yes:
            confirm(f"delete the data in {', '.join(names)}?")
    command = stack.argv("down", "--remove-orphans", *(["--volumes"] if volumes else []))
    process.run(command, env=stack.variables)


def confirm(question: str) -> None:
    """Ask on a terminal; a script must say `--yes`."""
    if not sys.stdin.isatty():
        raise NotConfirmed(f"{question} nobody is here to ask; add --yes if you mean it")
    if input(f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
        raise NotConfirmed("nothing was deleted or stopped")


def compose(stack: Stack, *arguments: str) -> int:
    """Hand a command to compose with the terminal's own streams; return its exit code."""
    return process.call(stack.argv(*arguments), env=stack.variables)


def require_running(stack: Stack) -> None:
    """Raise if no container of the stack exists."""
    if not stack.states():
        raise NotRunning(f"{stack.project} is not up; start it with `inv up {stack.flags}`")


def execute(stack: Stack, *, service: str, command: Sequence[str]) -> int:
    """Run a command in a service; without a terminal on stdin none is asked for."""
    if not command:
        raise BadValue("no command given; write it after --, for instance `inv exec -- id`")
    require_running(stack)
    terminal = [] if sys.stdin.isatty() else ["--no-TTY"]
    return compose(stack, "exec", *terminal, service or SERVER, *command)


def restart(stack: Stack, *, service: str) -> None:
    """Restart a service, or all, in the order of their dependencies, and wait until all do their work."""
    require_running(stack)
    if service and service not in stack.topology.services:
        known = ", ".join(stack.topology.services)
        raise BadValue(
            f"--service {service!r} is not in {stack.topology.name}; use one of: {known}"
        )
    process.run(stack.argv("restart", *([service] if service else [])), env=stack.variables)
    with Progress(f"waiting for {stack.project}", detail=lambda: overview(stack)):
        settle(stack)
