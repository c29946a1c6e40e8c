"""What a rotation asks of the engine, in which order, and what ends it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from letta_stack.base import process
from letta_stack.certs import store as certificates
from letta_stack.errors import BadValue, NotRotated, NotRunning
from letta_stack.secrets import kinds
from letta_stack.secrets.store import NEW, OLD
from letta_stack.topology import rotation
from letta_stack.topology.catalogue import SERVER
from letta_stack.topology.runners.compose import Compose
from letta_stack.topology.runners.protocol import State
from tests.support.rotated import LONG_AGO, PROD, REPLICAS, Engine, assert_rotated


def test_the_encryption_key_stays(engine: Engine) -> None:
    with pytest.raises(NotRotated, match="cannot be rotated"):
        rotation.rotate(PROD, kinds.ENCRYPTION_KEY)

    assert engine.calls == 0


def test_an_unknown_name_is_refused(engine: Engine) -> None:
    with pytest.raises(BadValue, match="there is no secret 'x'"):
        rotation.rotate(PROD, "x")

    assert engine.calls == 0


def test_a_stack_that_is_down_is_left_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compose, "states", lambda _: [])

    with pytest.raises(NotRunning):
        rotation.rotate(PROD, kinds.REDIS)

    assert not engine.files.path(kinds.REDIS + NEW).exists()


def test_a_server_goes_only_while_the_others_do_their_work(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    wait, execute = rotation._wait_until_ready, engine.execute  # noqa: SLF001 - watched, not replaced

    def waiting(project: Any, state: Any) -> None:
        order.append(f"wait for {state.container}")
        wait(project, state)

    def executing(argv: list[str], stdin: str) -> str:
        if argv[1] == "restart":
            order.append(f"restart {argv[-1]}")
        return execute(argv, stdin)

    monkeypatch.setattr(rotation, "_wait_until_ready", waiting)
    monkeypatch.setattr(engine, "execute", executing)
    rotation.rotate(PROD, kinds.DATABASE)

    first, second = REPLICAS
    assert order == [
        *(f"wait for {second}", f"restart {first}", f"wait for {first}"),
        *(f"wait for {first}", f"restart {second}", f"wait for {second}"),
    ]


def test_the_user_reads_where_the_new_value_is(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    rotation.rotate(PROD, kinds.REDIS)

    assert capsys.readouterr().err.splitlines() == [
        *(f"restarting {name}; it first ends the requests that it has" for name in REPLICAS),
        "redis-password of mine is rotated: inv secrets.show redis-password --env prod --project mine",
    ]


def test_each_rotation_changes_to_the_other_role_and_ends_the_sessions_of_the_last(
    engine: Engine,
) -> None:
    first, second = kinds.LOGINS
    rotation.rotate(PROD, kinds.DATABASE)
    assert list(engine.roles) == [second]
    assert engine.sessions == {second}

    rotation.rotate(PROD, kinds.DATABASE)
    assert list(engine.roles) == [first]
    assert engine.sessions == set()


def test_a_redis_that_speaks_tls_is_asked_over_tls(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "has_internal", lambda project: project == "mine")
    engine.redis_options = ["--tls", "--insecure"]
    before = engine.files.read(kinds.REDIS)

    rotation.rotate(PROD, kinds.REDIS)

    assert_rotated(engine, kinds.REDIS, before)


def test_what_redis_does_not_take_ends_the_rotation(engine: Engine) -> None:
    engine.redis_says = "OK\nERR no permission\n"

    with pytest.raises(NotRotated, match=r"does not take the change \(OK ERR no permission\)"):
        rotation.rotate(PROD, kinds.REDIS)


@pytest.mark.parametrize("state", ["exited", ""])
def test_a_data_service_that_does_not_run_ends_the_rotation(
    state: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [one for one in engine.states() if one.service != "letta-redis"]
    states += [State("letta-redis", "r", state, "", 0)] if state else []
    monkeypatch.setattr(Compose, "states", lambda _: states)

    with pytest.raises(NotRotated, match="letta-redis does not run; start it with `inv up --env"):
        rotation.rotate(PROD, kinds.REDIS)


def test_a_server_that_needs_some_time_gets_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(["starting", "healthy"])
    server = State("letta-server", REPLICAS[0], "running", "", 0)
    monkeypatch.setattr(Compose, "states", lambda _: [replace(server, health=next(looks))])

    rotation._wait_until_ready(PROD, server)  # noqa: SLF001 - one step

    assert next(looks, None) is None


def test_a_server_that_does_not_come_back_keeps_the_old_value_valid(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "HEALTHY_SECONDS", 0.0)
    execute = engine.execute

    def breaking(argv: list[str], stdin: str) -> str:
        if argv[1] == "restart":
            engine.health[argv[-1]] = "unhealthy"
        return execute(argv, stdin)

    monkeypatch.setattr(engine, "execute", breaking)
    with pytest.raises(NotRotated, match=f"{REPLICAS[0]} is not healthy after 0 s with the new"):
        rotation.rotate(PROD, kinds.REDIS)

    assert engine.files.path(kinds.REDIS + OLD).exists()
    assert len(engine.redis) == 2
    assert engine.started[REPLICAS[1]] == LONG_AGO


@pytest.fixture
def restarted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The servers that were restarted, and the pauses before."""
    order: list[str] = []
    execute = engine.execute

    def watched(argv: list[str], stdin: str) -> str:
        order.extend(argv[2:] if argv[1] == "restart" else [])
        return execute(argv, stdin)

    monkeypatch.setattr(engine, "execute", watched)
    monkeypatch.setattr(rotation, "GATEWAY_RETRY_SECONDS", 4.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: order.append(f"{seconds:g} s"))
    return order


def test_before_a_server_goes_the_gateway_gets_time_to_find_the_others(
    engine: Engine, restarted: list[str]
) -> None:
    rotation.rotate(PROD, kinds.SERVER)

    assert restarted == ["4 s", REPLICAS[0], "4 s", REPLICAS[1]]


def test_a_server_that_is_alone_is_restarted_at_once(
    engine: Engine, restarted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [one for one in engine.states() if one.container != REPLICAS[1]]
    monkeypatch.setattr(Compose, "states", lambda _: alone)

    rotation.rotate(PROD, kinds.SERVER)

    assert restarted == [REPLICAS[0]]


@pytest.mark.parametrize(("later", "again"), [(-1.0, True), (0.9, True), (1.1, False), (60, False)])
def test_a_server_that_was_started_after_the_change_is_not_restarted(
    later: float, again: bool, engine: Engine, restarted: list[str]
) -> None:
    engine.started = {REPLICAS[0]: 1000.0 + later, REPLICAS[1]: 2000.0}

    rotation._restart(PROD, SERVER, since=1000.0)  # noqa: SLF001 - what a second call does

    assert (REPLICAS[0] in restarted) is again
    assert REPLICAS[1] not in restarted


def test_a_server_that_was_started_after_the_change_is_waited_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "HEALTHY_SECONDS", 0.0)
    engine.started = dict.fromkeys(REPLICAS, 2000.0)
    engine.health[REPLICAS[0]] = "starting"

    with pytest.raises(NotRotated, match=f"{REPLICAS[0]} is not healthy"):
        rotation._restart(PROD, SERVER, since=1000.0)  # noqa: SLF001 - what a second call does


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00Z\n", 60.0),
        ("1970-01-01T00:01:00.5Z\n", 60.5),
        ("1970-01-01T00:01:00.123456789Z\n", 60.123456789),
    ],
)
def test_the_engines_time_may_have_any_number_of_digits(
    text: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "capture", lambda _: text)

    assert rotation.started("c") == pytest.approx(seconds, abs=1e-6)


@pytest.mark.usefixtures("elsewhere")
def test_the_engines_time_is_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "capture", lambda _: "1970-01-01T00:01:00Z")

    assert rotation.started("c") == 60.0
