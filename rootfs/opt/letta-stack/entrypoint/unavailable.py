"""While PostgreSQL restarts, does not lead, or has no connection or no disk left, clients are told so, and nothing of the driver's internals."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import socket
from typing import TYPE_CHECKING, Any

from . import ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Handler = Callable[[Any, Exception], Awaitable[Any]]

RETRY_SECONDS = 2
DETAIL = "The database is not available at the moment. Please try again."
FULL_DETAIL = (
    "The database's disk is full, so this was not stored. Free some space, then try again."
)
INSUFFICIENT_STORAGE = 507
NO_RETRY = {"X-Should-Retry": "false"}
"""For clients of the SDK, which would repeat it at once."""

REDIS_DETAIL = "Redis is not available at the moment. Please try again."

CONNECT_SECONDS = 10
_SERVICE = "database"

_DRIVER_ERRORS = (
    # It restarts, or has just died.
    *("PostgresConnectionError", "CannotConnectNowError", "AdminShutdownError"),
    *("CrashShutdownError", "TooManyConnectionsError"),
    # A member of a database of several that leads no more, or not yet.
    "ReadOnlySQLTransactionError",
    # "cannot switch to state 12": the connection ended in the middle of a statement.
    "InternalClientError",
)


_current: contextvars.ContextVar[Any] = contextvars.ContextVar("current", default=None)
"""The session that the task has already."""
_joined: contextvars.ContextVar[bool] = contextvars.ContextVar("joined", default=False)
"""Whether further sessions of the task are that one."""


def is_unavailable(error: BaseException, *, network: bool = False) -> bool:
    """Tell whether an error, or what caused it, means that the database cannot be used right now.

    ``network``: whether an error of a socket can only be the database's.
    """
    return any(_means_unavailable(one, network=network) for one in _chain(error))


def is_redis_unavailable(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, means that Redis cannot be used right now."""
    redis = importlib.import_module("redis.exceptions")
    return any(
        isinstance(one, (redis.ConnectionError, redis.TimeoutError)) for one in _chain(error)
    )


def is_full(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, means that the database's disk is full."""
    full = importlib.import_module("asyncpg.exceptions").DiskFullError
    return any(isinstance(one, full) for one in _chain(error))


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Let what opens a session in this block use the one that the task has, and leave the commit to that."""
    before = _joined.set(_current.get() is not None)
    try:
        yield
    finally:
        _joined.reset(before)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _means_unavailable(error: BaseException, *, network: bool) -> bool:
    driver = importlib.import_module("asyncpg.exceptions")
    sqlalchemy = importlib.import_module("sqlalchemy.exc")
    if isinstance(error, tuple(getattr(driver, name) for name in _DRIVER_ERRORS)):
        return True
    # What a session has made of it, see below.
    if isinstance(error, importlib.import_module("letta.errors").LettaServiceUnavailableError):
        return bool(error.details.get("service_name") == _SERVICE)
    if isinstance(error, sqlalchemy.DBAPIError):
        return bool(error.connection_invalidated)
    if isinstance(error, driver.InterfaceError):
        # Other errors of this class are mistakes of the caller.
        return "closed" in str(error)
    # No connection of the pool became free in time.
    if isinstance(error, sqlalchemy.TimeoutError):
        return True
    return network and isinstance(error, (ConnectionError, TimeoutError, socket.gaierror))


def say_so_in_sessions(module: Any) -> None:
    """Raise one error of the server's own for everything that means "try again".

    letta/server/db.py, DatabaseRegistry.async_session: means to repeat the caller's block after a lost connection, which a
    context manager cannot do. So a refused connection ends as "generator didn't stop after athrow()", and a failing
    rollback hides what it was about.

    Some code opens a session within a session. If as many as the pool has connections did so at the same moment, each would
    wait for all others. So tasks without one share the pool's regular connections, and the overflow is for those that
    have one.
    """
    # A pool without a bound (NullPool) has no size either.
    size = getattr(module.engine.pool, "size", None)
    places = asyncio.Semaphore(size()) if size else contextlib.nullcontext()

    @contextlib.asynccontextmanager
    async def async_session(_: Any) -> AsyncIterator[Any]:
        outer = _current.get()
        if outer is not None and _joined.get():
            yield outer
            return
        try:
            with ready.watched():
                async with (
                    places if outer is None else contextlib.nullcontext(),
                    _transaction(module.async_session_factory()) as session,
                ):
                    _current.set(session)
                    try:
                        yield session
                    finally:
                        _current.set(outer)
        except Exception as error:
            full = is_full(error)
            if not full and not is_unavailable(error, network=True):
                raise
            if not full:
                ready.hint()
            errors = importlib.import_module("letta.errors")
            raise errors.LettaServiceUnavailableError(
                FULL_DETAIL if full else DETAIL, service_name=_SERVICE
            ) from error

    module.DatabaseRegistry.async_session = async_session


@contextlib.asynccontextmanager
async def _transaction(session: Any) -> AsyncIterator[Any]:
    try:
        yield session
        await session.commit()
    except BaseException:
        # Also for a cancelled task: its connection must not return to the pool with an open transaction.
        with contextlib.suppress(Exception):
            await session.rollback()
        raise
    finally:
        session.expunge_all()
        await session.close()


def connect_in_time(module: Any) -> None:
    """Give up on a database that does not answer.

    letta/server/db.py: takes the time for which a request may wait for a connection of the pool, which is long, for the
    time in which a new one must be made as well.
    """
    event = importlib.import_module("sqlalchemy.event")

    def set_timeout(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        parameters["timeout"] = CONNECT_SECONDS

    event.listen(module.engine.sync_engine, "do_connect", set_timeout)


def answer_with_retry_after(module: Any) -> None:
    """Answer 503 with Retry-After, or 507 if the disk is full.

    letta/server/rest_api/app.py, create_application: answers 500 to most of these errors, and tells nobody when to retry.
    """
    app = module.app
    errors = importlib.import_module("letta.errors")
    orm = importlib.import_module("letta.orm.errors")
    sqlalchemy = importlib.import_module("sqlalchemy.exc")
    response = importlib.import_module("fastapi.responses").JSONResponse

    def with_retry(original: Handler, *, always: bool) -> Handler:
        async def handle(request: Any, error: Exception) -> Any:
            if is_full(error):
                return response(
                    status_code=INSUFFICIENT_STORAGE,
                    content={"detail": FULL_DETAIL},
                    headers=NO_RETRY,
                )
            if is_unavailable(error):
                answer = response(status_code=503, content={"detail": DETAIL})
            elif is_redis_unavailable(error):
                answer = response(status_code=503, content={"detail": REDIS_DETAIL})
            elif always:
                answer = await original(request, error)
            else:
                return await original(request, error)
            answer.headers.setdefault("Retry-After", str(RETRY_SECONDS))
            return answer

        return handle

    for kind, always in {
        errors.LettaServiceUnavailableError: True,
        orm.DatabaseTimeoutError: True,
        sqlalchemy.OperationalError: True,
        sqlalchemy.DBAPIError: False,
        # Also what a turn makes of a database that was gone in the middle of it.
        errors.LLMError: False,
        Exception: False,
    }.items():
        app.add_exception_handler(kind, with_retry(app.exception_handlers[kind], always=always))
