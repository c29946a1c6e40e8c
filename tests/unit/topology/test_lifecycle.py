"""When a project is ready, and what the other verbs give the runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from letta_stack.errors import (
    NotRunning,
    ServiceFailed,
)
from letta_stack.topology import (
    lifecycle,
    report,
)
from letta_stack.topology.project import Project
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State
from tests.support.up_steps import PROD, SERVICES, Steps, running

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_service_that_stays_unready_ends_the_wait(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.states = [running("letta-db", health="starting")]
    monkeypatch.setattr(lifecycle, "HEALTHY_SECONDS", 0.0)
    monkeypatch.setattr(report, "last_words", str)

    with pytest.raises(ServiceFailed, match=r"after 0 s: letta-db starting, letta-redis not"):
        lifecycle.wait_ready(SERVICES)


def test_a_service_that_gets_ready_is_noticed_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    def states(_: Compose) -> list[State]:
        nonlocal looks
        looks += 1
        return [running("letta-db"), *([running("letta-redis")] if looks > 2 else [])]

    monkeypatch.setattr(Compose, "states", states)

    lifecycle.wait_ready(SERVICES)  # one look at what ends, two at what works

    assert looks == 3


@pytest.mark.parametrize(
    ("states", "ready"),
    [
        ([running("letta-db"), running("letta-redis")], True),
        ([running("letta-db")], False),
        ([running("letta-db"), running("letta-redis", health="starting")], False),
        # More than was asked for: `inv restart` knows no --replicas.
        ([running("letta-db"), running("letta-redis"), running("letta-redis", 2)], True),
        (
            [running("letta-db"), running("letta-redis"), running("letta-redis", 2, "starting")],
            False,
        ),
    ],
)
def test_ready_means_every_container_that_there_is(
    states: list[State], ready: bool, steps: Steps
) -> None:
    steps.states = states

    assert lifecycle.ready(SERVICES) is ready


def servers(count: int) -> list[State]:
    names = ("letta-db", "letta-redis", "letta-nginx", "letta-collector")
    return [
        *(running(name) for name in names),
        *(running("letta-server", number + 1) for number in range(count)),
    ]


@pytest.mark.parametrize(
    ("migration", "ready"),
    [
        (State("letta-migrate", "m", "exited", "", 0), True),
        (State("letta-migrate", "m", "running", "", 0), False),
        (State("letta-migrate", "m", "created", "", 0), False),
    ],
)
def test_a_one_shot_service_is_ready_when_it_has_ended(
    migration: State, ready: bool, steps: Steps
) -> None:
    steps.states = [*servers(1), migration]

    assert lifecycle.ready(PROD) is ready


def test_a_one_shot_service_that_failed_ends_the_wait(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "last_words", str)
    steps.states = [*servers(1), State("letta-migrate", "m", "exited", "", 3)]

    with pytest.raises(ServiceFailed, match=r"^letta-migrate exited with code 3;"):
        lifecycle.ready(PROD)


def test_fewer_replicas_than_wanted_are_waited_for(steps: Steps) -> None:
    migrated = State("letta-migrate", "m", "exited", "", 0)
    two = Project.of("prod", replicas="2")

    steps.states = [*servers(1), migrated]
    assert not lifecycle.ready(two)
    steps.states = [*servers(2), migrated]
    assert lifecycle.ready(two)


@pytest.fixture
def called(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The calls of the runner, each of which answers with 7."""
    calls: list[tuple[object, ...]] = []

    def verb(name: str) -> Callable[..., int]:
        def call(_: Compose, *arguments: object, **options: object) -> int:
            calls.append((name, *arguments, *options.values()))
            return 7

        return call

    for name in ("ps", "logs", "show_config", "execute", "restart"):
        monkeypatch.setattr(Compose, name, verb(name))
    steps.states = [running("letta-db"), running("letta-redis")]
    return calls


def test_what_shows_something_ends_with_the_runners_exit_code(
    called: list[tuple[object, ...]],
) -> None:
    assert lifecycle.ps(SERVICES) == 7
    assert lifecycle.logs(SERVICES, service="letta-db", tail=5, follow=True) == 7
    assert lifecycle.config(SERVICES) == 7
    assert lifecycle.execute(SERVICES, service="", command=["id"]) == 7
    assert lifecycle.execute(SERVICES, service="letta-redis", command=["id"]) == 7
    assert called == [
        ("ps",),
        ("logs", "letta-db", 5, True),
        ("show_config",),
        ("execute", "letta-db", ["id"]),
        ("execute", "letta-redis", ["id"]),
    ]


@pytest.mark.parametrize("service", ["", "letta-redis"])
def test_a_restart_waits_until_all_do_their_work(
    service: str, called: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "wait_ready", lambda project: called.append(("wait", project)))

    lifecycle.restart(SERVICES, service=service)

    assert called == [("restart", service), ("wait", SERVICES)]


def test_a_restart_needs_a_running_project(called: list[tuple[object, ...]], steps: Steps) -> None:
    steps.states = []

    with pytest.raises(NotRunning, match="mine is not up; start it with `inv up --env services"):
        lifecycle.restart(SERVICES, service="")
    assert called == []
