"""Changes a secret of a running project: the new value works before the old one stops to.

    1. write the new value beside the old one (NAME.new)
    2. teach PostgreSQL or Redis the new one; both work from now on
    3. keep the old value (NAME.old), put the new one in its place
    4. restart who reads it, the servers one after the other; each first ends the requests that it has
    5. take the old value from PostgreSQL or Redis, and delete it

Killed anywhere, the project goes on to work, and the same command goes on from there.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from typing import TYPE_CHECKING

from letta_stack.base import console, lock, process
from letta_stack.base.wait import wait_until
from letta_stack.errors import NotRotated, WaitTimedOut
from letta_stack.secrets import kinds, monitoring
from letta_stack.topology import lifecycle, running, secret_files
from letta_stack.topology.catalogue import GATEWAY_RETRY_SECONDS, SERVER
from letta_stack.topology.rotation_steps import STEPS, Rotation

if TYPE_CHECKING:
    from letta_stack.topology.project import Project
    from letta_stack.topology.runners.protocol import State

HEALTHY_SECONDS = lifecycle.HEALTHY_SECONDS
CLOCK_SECONDS = 1.0  # by how much the engine's clock and this machine's may differ


def rotate(project: Project, name: str) -> None:
    """Give a running project a new secret, or finish what an interrupted rotation left.

    Raises BadValue, NotRunning, NotRotated, ProjectLocked, ServiceFailed.
    """
    secret_files.check_name(project, name)
    if name == kinds.ENCRYPTION_KEY:
        raise NotRotated(
            "the encryption key cannot be rotated: the server has no way to encrypt anew what it encrypted with "
            "the old one, and would fail to read it"
        )
    mine = secret_files.store(project)
    with lock.held(project.name):
        running.require(project, project.runner.states())
        mine.check()
        _rotate(Rotation(project, mine, name))
    console.say(f"{name} of {project.name} is rotated: inv secrets.show {name} {project.flags}")


def _rotate(one: Rotation) -> None:
    steps, store = STEPS[one.name], one.store
    if store.path(one.new).exists() or not store.path(one.old).exists():
        if not store.path(one.new).exists():
            login = kinds.LOGINS[0]
            if one.name == kinds.DATABASE:
                login = kinds.other_login(kinds.login(store.read(one.name)))
            store.write(one.new, kinds.new(one.name, login=login))
        steps.teach(one, store.read(one.new))
        if not store.path(one.old).exists():
            os.link(store.path(one.name), store.path(one.old))
        store.path(one.new).rename(store.path(one.name))
    store.record()
    if one.project.topology.monitoring:
        monitoring.ensure(store)
    # The kernel sets this time when the old value loses its first name.
    since = store.path(one.old).stat().st_ctime
    for service in steps.readers:
        _restart(one.project, service, since=since)
    steps.withdraw(one, store.read(one.old))
    store.path(one.old).unlink()


def _restart(project: Project, service: str, *, since: float) -> None:
    """Restart the replicas of a service that were started before ``since`` (seconds of the epoch), one after the other.

    The engine goes on with a restart whose command was killed, so the others must be ready before each one.
    """
    replicas = [state for state in project.runner.states() if state.service == service]
    for state in replicas:
        if started(state.container) > since + CLOCK_SECONDS:
            _wait_until_ready(project, state)
            continue
        others = [other for other in replicas if other.container != state.container]
        for other in others:
            _wait_until_ready(project, other)
        if others:
            time.sleep(GATEWAY_RETRY_SECONDS)
        ends = "; it first ends the requests that it has" if service == SERVER else ""
        console.say(f"restarting {state.container}{ends}")
        process.capture(["docker", "restart", state.container])
        _wait_until_ready(project, state)


def _wait_until_ready(project: Project, wanted: State) -> None:
    def ready() -> bool:
        return any(
            state.ready for state in project.runner.states() if state.container == wanted.container
        )

    try:
        wait_until(ready, timeout=HEALTHY_SECONDS, interval=0.5, describe="")
    except WaitTimedOut:
        raise NotRotated(
            f"{wanted.container} is not healthy after {HEALTHY_SECONDS:g} s with the new value; see `inv logs "
            f"{project.flags}`, then run this again"
        ) from None


def started(container: str) -> float:
    """Return when a container was started, in seconds of the epoch."""
    text = process.capture(["docker", "inspect", "--format", "{{.State.StartedAt}}", container])
    # More digits than Python reads.
    seconds, _, fraction = text.strip().removesuffix("Z").partition(".")
    moment = dt.datetime.fromisoformat(seconds).replace(tzinfo=dt.UTC)
    return moment.timestamp() + float(f"0.{fraction or 0}")
