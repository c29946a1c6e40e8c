"""Which errors mean "try again", and what becomes of them, against stand-ins for the server's modules."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from entrypoint import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable


class DBAPIError(Exception):
    connection_invalidated = False


class Unavailable(Exception):
    def __init__(self, message: str, service_name: str) -> None:
        super().__init__(message)
        self.details = {"service_name": service_name}


class Response:
    def __init__(
        self, status_code: int, content: dict[str, str], headers: dict[str, str] | None = None
    ) -> None:
        self.status_code, self.content = status_code, content
        self.headers = dict(headers or {})


def module(name: str, *classes: str, **attributes: Any) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update({one: type(one, (Exception,), {}) for one in classes} | attributes)
    return made


DRIVER = module(
    "asyncpg.exceptions",
    *unavailable._DRIVER_ERRORS,  # noqa: SLF001 - the same list
    "InterfaceError",
    "DiskFullError",
)
SQLALCHEMY = module("sqlalchemy.exc", "TimeoutError", "OperationalError", DBAPIError=DBAPIError)
REDIS = module("redis.exceptions", "ConnectionError", "TimeoutError")
ORM = module("letta.orm.errors", "DatabaseTimeoutError")
STAND_INS = {
    "asyncpg.exceptions": DRIVER,
    "fastapi.responses": module("fastapi.responses", JSONResponse=Response),
    "letta.errors": module("letta.errors", "LLMError", LettaServiceUnavailableError=Unavailable),
    "letta.orm.errors": ORM,
    "redis.exceptions": REDIS,
    "sqlalchemy.exc": SQLALCHEMY,
}


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, made in STAND_INS.items():
        monkeypatch.setitem(sys.modules, name, made)


def caused_by(cause: Exception) -> Exception:
    error = ValueError("of the caller")
    error.__cause__ = cause
    return error


def lost_connection() -> Exception:
    error = DBAPIError("rollback failed")
    error.connection_invalidated = True
    return error


@pytest.mark.parametrize(
    "make",
    [
        *(lambda name=name: getattr(DRIVER, name)("x") for name in unavailable._DRIVER_ERRORS),  # noqa: SLF001
        lost_connection,
        lambda: DRIVER.InterfaceError("connection is closed"),
        lambda: SQLALCHEMY.TimeoutError("QueuePool limit"),
    ],
)
def test_a_database_that_is_gone_or_full_means_try_again(make: Callable[[], Exception]) -> None:
    assert unavailable.is_unavailable(make())
    assert unavailable.is_unavailable(caused_by(make()))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        DBAPIError("a syntax error"),
        DRIVER.InterfaceError("the server expects 2 arguments for this query"),
        ConnectionRefusedError("a language model's, perhaps"),
    ],
)
def test_other_errors_do_not(error: Exception) -> None:
    assert not unavailable.is_unavailable(error)


class Session:
    def __init__(self) -> None:
        self.calls: list[str] = []

    async def commit(self) -> None:
        self.calls.append("commit")

    async def rollback(self) -> None:
        self.calls.append("rollback")
        raise RuntimeError("cannot switch to state 12")

    async def close(self) -> None:
        self.calls.append("close")

    def expunge_all(self) -> None:
        self.calls.append("expunge_all")


def used(error: BaseException | None) -> list[str]:
    """Use a session of the patched registry, with an error in the block; return what was called."""
    session = Session()
    patched = SimpleNamespace(
        async_session_factory=lambda: session,
        engine=SimpleNamespace(pool=object()),
        DatabaseRegistry=type("Registry", (), {}),
    )
    unavailable.say_so_in_sessions(patched)

    async def use() -> None:
        async with patched.DatabaseRegistry().async_session() as given:
            assert given is session
            if error is not None:
                raise error

    asyncio.run(use())
    return session.calls


def test_a_session_commits_and_closes() -> None:
    assert used(None) == ["commit", "expunge_all", "close"]


def test_a_refused_connection_says_try_again() -> None:
    with pytest.raises(Unavailable, match="Please try again") as raised:
        used(ConnectionRefusedError("[Errno 111] Connect call failed ('172.18.0.2', 5432)"))

    assert raised.value.details["service_name"] == "database"


@pytest.mark.parametrize("error", [ValueError("mine"), asyncio.CancelledError()])
def test_what_is_not_the_databases_fault_passes_despite_a_failing_rollback(
    error: BaseException,
) -> None:
    with pytest.raises(type(error)) as raised:
        used(error)

    assert raised.value is error


class BoundSession(Session):
    """Needs one of the pool's connections while it is open."""

    connections: asyncio.Semaphore

    async def rollback(self) -> None:
        """Succeed."""

    async def close(self) -> None:
        self.connections.release()


@pytest.mark.timeout(10)
def test_sessions_within_sessions_do_not_wait_for_each_other() -> None:
    async def use_pool() -> int:
        regular, overflow, tasks = 2, 1, 20
        connections = asyncio.Semaphore(regular + overflow)
        BoundSession.connections = connections
        patched = SimpleNamespace(
            async_session_factory=BoundSession,
            engine=SimpleNamespace(pool=SimpleNamespace(size=lambda: regular)),
            DatabaseRegistry=type("Registry", (), {}),
        )
        unavailable.say_so_in_sessions(patched)
        registry = patched.DatabaseRegistry()

        async def nested() -> int:
            async with registry.async_session():
                await connections.acquire()
                # By now each of the others has its first one.
                await asyncio.sleep(0.01)
                async with registry.async_session():
                    await connections.acquire()
                    return 1

        return sum(await asyncio.gather(*(nested() for _ in range(tasks))))

    assert asyncio.run(use_pool()) == 20


def answered(error: Exception, kind: type[Exception] = Exception) -> Response:
    """Return what the patched application answers to an error of the given kind."""

    async def original(_request: Any, raised: Exception) -> Response:
        return Response(500, {"detail": str(raised)})

    kinds = (Unavailable, ORM.DatabaseTimeoutError, SQLALCHEMY.OperationalError)
    more = (sys.modules["letta.errors"].LLMError, DBAPIError, Exception)
    handlers: dict[Any, Any] = dict.fromkeys((*kinds, *more), original)
    app = SimpleNamespace(exception_handlers=handlers, add_exception_handler=handlers.__setitem__)
    unavailable.answer_with_retry_after(SimpleNamespace(app=app))
    response: Response = asyncio.run(handlers[kind](None, error))
    return response


def test_the_answer_says_when_to_retry_and_nothing_of_the_driver() -> None:
    answer = answered(DRIVER.InternalClientError("cannot switch to state 12"))

    assert answer.status_code == 503
    assert answer.headers == {"Retry-After": "2"}
    assert answer.content == {"detail": unavailable.DETAIL}


@pytest.mark.parametrize("name", ["ConnectionError", "TimeoutError"])
def test_a_redis_that_is_gone_means_try_again_and_its_address_stays_inside(name: str) -> None:
    answer = answered(caused_by(getattr(REDIS, name)("Error 111 connecting to letta-redis:6379")))

    assert answer.status_code == 503
    assert answer.headers == {"Retry-After": "2"}
    assert answer.content == {"detail": unavailable.REDIS_DETAIL}


def test_a_turn_that_lost_the_database_does_not_blame_the_model() -> None:
    kind = sys.modules["letta.errors"].LLMError
    error = kind("Unhandled LLM error")
    error.__context__ = Unavailable("The database is not available", "database")

    assert answered(error, kind).content == {"detail": unavailable.DETAIL}
    assert answered(kind("Rate limit"), kind).content == {"detail": "Rate limit"}


def test_the_servers_own_503_gets_the_header_and_keeps_its_text() -> None:
    answer = answered(Unavailable("overloaded", "x"), Unavailable)

    assert answer.content == {"detail": "overloaded"}
    assert answer.headers == {"Retry-After": "2"}


def test_a_full_disk_is_no_reason_to_try_again_at_once() -> None:
    answer = answered(caused_by(DRIVER.DiskFullError("could not extend file base/16384/16519")))

    assert answer.status_code == 507
    assert answer.headers == {"X-Should-Retry": "false"}
    assert answer.content == {"detail": unavailable.FULL_DETAIL}


def test_a_session_says_that_the_disk_is_full() -> None:
    with pytest.raises(Unavailable, match="disk is full") as raised:
        used(DRIVER.DiskFullError("could not extend file"))

    assert raised.value.details["service_name"] == "database"


def test_a_joined_session_is_the_outer_one_and_commits_with_it() -> None:
    session = Session()
    patched = SimpleNamespace(
        async_session_factory=lambda: session,
        engine=SimpleNamespace(pool=object()),
        DatabaseRegistry=type("Registry", (), {}),
    )
    unavailable.say_so_in_sessions(patched)
    registry = patched.DatabaseRegistry()

    async def use() -> list[str]:
        async with registry.async_session() as outer:
            with unavailable.joined():
                async with registry.async_session() as inner:
                    assert inner is outer
            return list(session.calls)

    assert asyncio.run(use()) == []
    assert session.calls == ["commit", "expunge_all", "close"]


def test_other_answers_stay_as_they_are() -> None:
    answer = answered(ValueError("mine"))

    assert (answer.status_code, answer.headers) == (500, {})
