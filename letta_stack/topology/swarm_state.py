"""How far the services of a stack are: every task does its work, or the swarm has taken an update back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from letta_stack.base import console, process
from letta_stack.base.wait import wait_until
from letta_stack.errors import HostUnreachable, NotRunning, RolloutFailed, WaitTimedOut
from letta_stack.topology.catalogue import GATEWAY, GATEWAY_HEALTH_PATH
from letta_stack.topology.render.swarm.services import ATTEMPTS
from letta_stack.topology.runners.protocol import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from letta_stack.topology.runners.swarm import Swarm

READY_SECONDS = 900.0
ANSWER_SECONDS = 60.0
ROLLED_BACK = {"rollback_started", "rollback_completed", "rollback_paused", "paused"}


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
        gateway = mine.task(GATEWAY.name)
    except (HostUnreachable, NotRunning) as error:
        console.say(f"no gateway was asked whether the API answers: {error}")
        return
    (port, *_) = model["services"][GATEWAY.name]["ports"]
    url = f"http://127.0.0.1:{port['target']}{GATEWAY_HEALTH_PATH}"
    command = gateway.exec("curl", "--silent", "--fail", url)
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
    updates = {name: state for name, state in mine.updates().items() if name in expected}
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
