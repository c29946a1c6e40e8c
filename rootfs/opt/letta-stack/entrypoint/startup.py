"""What the server does at its start: patches like those in patches.py, so that it is fast, offline and beside others."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import sys
import time
import types
from typing import TYPE_CHECKING, Annotated, Any

from . import migrate, ready
from .log import log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

_STARTUP_LOCK = 0x1E77B
"""Key of an advisory lock: any number, as long as every replica has the same."""
_STARTUP_LOCK_TIMEOUT = 60
_STARTUP_LOCK_INTERVAL = 0.1


def postpone_openapi_schema(_: Any) -> None:
    """Do not write the OpenAPI schema at start.

    letta/server/rest_api/app.py, generate_openapi_schema: costs a second and writes 1.7 MB into the working directory,
    which must be writable for that alone. The server has a flag against it that its command line rejects.
    """
    sys.argv.append("--no-generation")


def make_openapi_schema_on_request(module: Any) -> None:
    """Give ``/openapi.json`` the schema of upstream, made when somebody asks for it (see above)."""
    sys.argv.remove("--no-generation")
    app = module.app
    fastapi_schema = app.openapi

    def openapi() -> Any:
        if app.openapi_schema is None:
            app.openapi = fastapi_schema
            module.Path = _Nowhere
            module.generate_openapi_schema(app)
        return app.openapi_schema

    app.openapi = openapi


def start_without_nltk(module: Any) -> None:
    """Do not download at start.

    letta/server/rest_api/app.py, lifespan: fetches ``punkt_tab`` from raw.githubusercontent.com at every start, with no
    timeout and no switch. In a network that swallows packets the server hangs for minutes and ignores SIGTERM. The data is
    not needed, llama_index brings it along; importing NLTK for it costs half a second and 36 MB as well. So while the
    server starts up, NLTK is an empty module whose download does nothing.
    """
    _around_startup(module, _nltk_hidden)


def start_one_at_a_time(module: Any) -> None:
    """Let replicas that start at the same moment fill their database one after the other.

    letta/server/server.py, init_async: looks for the default organization, user, tools, providers and models, and inserts
    what is missing, without a lock. Of ten replicas on a new database, six died of each other's inserts.
    """
    _around_startup(module, _startup_lock)


def _around_startup(module: Any, context: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """Run the application's start, but not its life, inside ``context``."""
    router = module.app.router
    original = router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with contextlib.AsyncExitStack() as stack:
            async with context():
                state = await stack.enter_async_context(original(app))
            yield state

    router.lifespan_context = lifespan


@contextlib.asynccontextmanager
async def _startup_lock() -> AsyncIterator[None]:
    """Hold an advisory lock, but rather start without it than wait for a replica that hangs.

    A transaction's lock, as in migrate.py, and for its reason: what waits holds no connection of a pooler.
    """
    connection = await ready.connect()
    try:
        end = time.monotonic() + _STARTUP_LOCK_TIMEOUT
        while not await _locked(connection):
            if time.monotonic() >= end:
                log(
                    f"another replica has been starting for {_STARTUP_LOCK_TIMEOUT} s, not waiting for it any longer"
                )
                break
            await asyncio.sleep(_STARTUP_LOCK_INTERVAL)
        yield
    finally:
        # A connection that was lost meanwhile has given the lock back.
        with contextlib.suppress(importlib.import_module("asyncpg").InterfaceError, OSError):
            await connection.execute("ROLLBACK")
        await connection.close()


async def _locked(connection: Any) -> bool:
    """Begin a transaction and take the lock, or end the transaction."""
    await connection.execute(f"BEGIN; SET LOCAL {migrate.NO_IDLE_LIMIT}")
    if await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({_STARTUP_LOCK})"):
        return True
    await connection.execute("ROLLBACK")
    return False


@contextlib.asynccontextmanager
async def _nltk_hidden() -> AsyncIterator[None]:
    with _module_hidden("nltk", download=lambda *_args, **_options: True):
        yield


@contextlib.contextmanager
def _module_hidden(name: str, **attributes: object) -> Iterator[None]:
    """Let ``import name`` give an empty module with these attributes for a while."""
    stub = types.ModuleType(name)
    stub.__dict__.update(attributes)
    real = sys.modules.pop(name, None)
    sys.modules[name] = stub
    try:
        yield
    finally:
        del sys.modules[name]
        if real is not None:
            sys.modules[name] = real


class _Nowhere:
    """A path that takes any text."""

    def __init__(self, *_: object) -> None:
        pass

    def write_text(self, text: str) -> int:
        return len(text)


def check_no_types_at_run_time(module: Any) -> None:
    """Import ``inflect`` without instrumenting each of its functions.

    It decorates them with typeguard, which rewrites their syntax trees: 2.2 seconds at every start. It is imported by
    letta/services/tool_executor through datamodel-code-generator.
    """

    def typechecked(target: Any = None, **_: Any) -> Any:
        return target if target is not None else lambda function: function

    module.typechecked = typechecked


def make_validators_on_demand(module: Any) -> None:
    """Let FastAPI make what checks a parameter or an answer when a request first needs it.

    fastapi/_compat.py, ModelField: makes a pydantic adapter for each parameter of each of the server's 760 routes, 12 300 of
    them: a third of the processor time of a start, and memory for routes that nobody calls.
    """

    def adapter(self: Any) -> Any:
        return module.TypeAdapter(Annotated[self.field_info.annotation, self.field_info])

    name = "_type_adapter"
    on_demand = functools.cached_property(adapter)
    on_demand.__set_name__(module.ModelField, name)
    setattr(module.ModelField, name, on_demand)
    module.ModelField.__post_init__ = lambda _: None
