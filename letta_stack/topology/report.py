"""What the user is told once a topology is up, or could not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from letta_stack.base import console
from letta_stack.certs import store
from letta_stack.errors import ServiceFailed
from letta_stack.image import contract
from letta_stack.secrets import kinds
from letta_stack.topology.catalogue import GATEWAY, SERVER
from letta_stack.topology.project import DEBUG_PORT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.protocol import Published, State

LOG_LINES = 25


def failure(project: Project, reason: str) -> ServiceFailed:
    """Show the logs and health of what failed, and return the error that ends the command."""
    one_shot = project.topology.one_shots
    for state in project.runner.states():
        if not state.ready and not (state.service in one_shot and state.ended_well):
            console.say(last_words(state))
    return ServiceFailed(
        f"{reason}; the containers are left for a look: `inv logs {project.flags}`, then remove the "
        f"cause and run `inv up {project.flags}` again, or `inv down {project.flags}`"
    )


def last_words(state: State) -> str:
    """Collect the last answer of the health check and the last lines of the log."""
    from python_on_whales import docker  # noqa: PLC0415 - slow to import, and only needed here
    from python_on_whales.exceptions import NoSuchContainer  # noqa: PLC0415 - the same

    try:
        container = docker.container.inspect(state.container)
    except NoSuchContainer:
        return f"--- {state}; somebody has removed it since"
    health = container.state.health
    checks = (health.log if health else None) or []
    answer = (checks[-1].output or "").strip() if checks else ""
    lines = [f"--- {state}{meaning(state)}"]
    if answer:
        lines.append(f"last health check: {answer.splitlines()[-1]}")
    lines.append(f"last {LOG_LINES} log lines:")
    lines.append(str(docker.container.logs(container, tail=LOG_LINES)).rstrip())
    return "\n".join(lines)


def meaning(state: State) -> str:
    """Say why a container that ended did not start, "" if its exit code is none of the image's."""
    if state.service != SERVER or not state.failed:
        return ""
    reason = contract.EXIT_CODES.get(state.exit_code)
    return f": {reason[0].lower()}{reason[1:]}" if reason else ""


def gateway_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the environment of the gateway in a rendered model; empty where there is none."""
    return config["services"].get(GATEWAY.name, {}).get("environment") or {}


def success(project: Project, address: Published, container: str, config: Mapping[str, Any]) -> str:
    """Say where the API is, how to get the password, and what to type next; ``config`` is the rendered model."""
    environment = config["services"][SERVER]["environment"]
    gateway = gateway_settings(config)
    url = address.url + str(gateway.get("LETTA_STACK_BASE_PATH") or "").rstrip("/")
    read_password = f"docker exec {container} cat {contract.PASSWORD_FILE}"
    if project.topology.secrets:
        read_password = f"inv secrets.show {kinds.SERVER} {project.flags}"
    trust = ""
    if (
        address.scheme == "https"
        and (authority := store.directory(project.name) / store.AUTHORITY).is_file()
    ):
        trust = f" --cacert {authority}"
    if gateway.get("LETTA_STACK_CLIENT_CA"):
        trust += " --cert YOUR.pem"
    authorisation = f' -H "Authorization: Bearer $({read_password})"'
    if str(environment.get("LETTA_SERVER_SECURE")).lower() in contract.OFF:
        access, authorisation = "none: LETTA_SERVER_SECURE=false turns it off", ""
    elif environment.get("LETTA_SERVER_PASSWORD"):
        access = "the LETTA_SERVER_PASSWORD that you set"
        authorisation = ' -H "Authorization: Bearer $LETTA_SERVER_PASSWORD"'
    else:
        access = read_password
    return "\n".join(
        [
            f"the API is at {url}",
            f"  password: {access}",
            f"  try:      curl{trust}{authorisation} {url}/v1/agents/",
            *debugger_lines(project),
            f"  logs:     inv logs {project.flags}",
            f"  stop:     inv down {project.flags}   (keeps the data)",
        ]
    )


def debugger_lines(project: Project) -> list[str]:
    """Say where a debugger attaches, nothing if none can."""
    port = project.variables.get(DEBUG_PORT_VARIABLE)
    return [f"  debugger: attach to localhost:{port}, see docs/topologies/hot.md"] if port else []


def data_services(project: Project, exports: str) -> str:
    """Say how programs on this machine find the services of a topology without a server."""
    return "\n".join(
        [
            exports,
            f'  in a shell: eval "$(inv env {project.flags})"',
            f"  logs:       inv logs {project.flags}",
            f"  stop:       inv down {project.flags}   (keeps the data)",
        ]
    )
