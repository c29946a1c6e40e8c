"""Corrects defects of the server, which has no upstream any more: one small function for each.

A patch runs right before or right after the module it changes is executed, so no import order matters. File names are those
of the server's source, 0.16.8.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import math
import os
import sys
import types
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from . import database, logs, models, tracing, unavailable
from .log import log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Patch = Callable[[Any], None]

_STARTUP_LOCK = 0x1E77B
"""Key of an advisory lock: any number, as long as every replica has the same."""
_STARTUP_LOCK_TIMEOUT = 60

TOOL_VARIABLES = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_INDEX_URL", "PIP_CERT"),
        *("PYTHONPATH", "VIRTUAL_ENV", "MALLOC_ARENA_MAX"),
    }
)
"""What a tool's process gets from the server's environment, beside LC_*."""


def tool_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the server's environment that is not for the server alone."""
    return {
        name: value
        for name, value in environment.items()
        if name in TOOL_VARIABLES or name.startswith("LC_")
    }


def hide_environment_from_tools(module: Any) -> None:
    """Keep the server's secrets from the code that agents run.

    letta/services/tool_sandbox/base.py, _gather_env_vars: a local tool gets a copy of the server's whole environment,
    with database URI, API keys and encryption key (upstream issue 2435). What is configured for a tool, an agent or the
    sandbox still reaches it: upstream's own code adds that to an empty environment, as it does for remote sandboxes.
    """
    original = module.AsyncToolSandboxBase._gather_env_vars  # noqa: SLF001 - the one place to change

    @functools.wraps(original)
    async def gather(
        self: Any, agent_state: Any, additional_env_vars: Any, sbx_id: Any, is_local: Any
    ) -> dict[str, str]:
        configured = await original(self, agent_state, additional_env_vars, sbx_id, is_local=False)
        return {**tool_environment(os.environ), **configured} if is_local else configured

    module.AsyncToolSandboxBase._gather_env_vars = gather  # noqa: SLF001


def hide_environment_from_pip(module: Any) -> None:
    """Keep the server's secrets from the packages that a tool asks for: setup.py is code as well.

    letta/services/helpers/tool_execution_helper.py: both functions hand ``env`` to pip, and three of their callers take
    os.environ for it. A variable that only the server has is dropped; what a caller added stays.
    """
    for name in ("create_venv_for_local_sandbox", "install_pip_requirements_for_sandbox"):
        setattr(module, name, _with_scrubbed_environment(getattr(module, name)))


def _with_scrubbed_environment(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def scrubbed(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("env")
        source = os.environ if given is None else given
        allowed = tool_environment(source)
        kwargs["env"] = {
            name: value
            for name, value in source.items()
            if name in allowed or os.environ.get(name) != value
        }
        return function(*args, **kwargs)

    return scrubbed


def keep_uri_out_of_config_file(module: Any) -> None:
    """Save the legacy configuration file without the database URI.

    letta/config.py, save: writes the URI with its password into ~/.letta/config in clear, where tools can read it, and
    stops at any ``%`` in it, which every percent-encoded password has. Nothing reads the value back.
    """
    original = module.LettaConfig.save
    fields = ("recall_storage_uri", "archival_storage_uri", "metadata_storage_uri")

    @functools.wraps(original)
    def save(self: Any) -> None:
        values = {name: getattr(self, name) for name in fields}
        try:
            for name in fields:
                setattr(self, name, None)
            original(self)
        finally:
            for name, value in values.items():
                setattr(self, name, value)

    module.LettaConfig.save = save


def keep_password_out_of_log(module: Any) -> None:
    """Do not print the server's password.

    letta/server/rest_api/app.py, create_application: prints it at every start, also one that was given.
    """
    secret = os.environ.get("LETTA_SERVER_PASSWORD", "")

    def quiet_print(*values: Any, **options: Any) -> None:
        if not secret or not any(secret in str(value) for value in values):
            builtins.print(*values, **options)

    # Looked up in the module before the builtins.
    module.print = quiet_print


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
    """Hold an advisory lock, but rather start without it than wait for a replica that hangs."""
    asyncpg = importlib.import_module("asyncpg")
    target = database.from_server_environment(os.environ)
    connection = await asyncpg.connect(
        host=target.host.strip("[]"),
        port=target.port,
        user=target.user,
        password=target.password,
        database=target.name,
        ssl=target.ssl_mode,
    )
    try:
        await connection.execute(f"SET lock_timeout = '{_STARTUP_LOCK_TIMEOUT}s'")
        try:
            await connection.execute(f"SELECT pg_advisory_lock({_STARTUP_LOCK})")
        except asyncpg.LockNotAvailableError:
            log(
                f"another replica has been starting for {_STARTUP_LOCK_TIMEOUT} s, not waiting for it any longer"
            )
        yield
    finally:
        # Which releases the lock.
        await connection.close()


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


def trace_no_health_checks(module: Any) -> None:
    """Make no spans for health checks.

    letta/otel/tracing.py: the exclusion lacks the slash with which the endpoint is spelled, so every check of every
    container makes five spans.
    """
    module._excluded_v1_endpoints_regex.append("^GET /(v1|latest)/(health|ready)/$")  # noqa: SLF001


def allow_sqlalchemy_tracing(module: Any) -> None:
    """Let LETTA_SQLALCHEMY_TRACING=true start.

    letta/otel/tracing.py calls a method that letta/server/db.py does not have any more; the server stops at import.
    """
    if not hasattr(module.DatabaseRegistry, "get_async_engine"):
        module.DatabaseRegistry.get_async_engine = lambda _: module.engine


def stop_watchdog_at_once(module: Any) -> None:
    """Do not wait for the watchdog's thread at shutdown.

    letta/monitoring/event_loop_watchdog.py, stop: joins a daemon thread that sleeps up to five seconds, and gives up
    after two. It has nothing to save; but when it wakes up it takes the stopped event loop for a hanging one, and logs a
    hundred lines of stack traces.
    """
    original = module.EventLoopWatchdog.stop

    @functools.wraps(original)
    def stop(self: Any) -> None:
        self._thread = None
        self.timeout_threshold = self._last_dump_time = math.inf
        original(self)

    module.EventLoopWatchdog.stop = stop


def check_no_types_at_run_time(module: Any) -> None:
    """Import ``inflect`` without instrumenting each of its functions.

    It decorates them with typeguard, which rewrites their syntax trees: 2.2 seconds at every start. It is imported by
    letta/services/tool_executor through datamodel-code-generator.
    """

    def typechecked(target: Any = None, **_: Any) -> Any:
        return target if target is not None else lambda function: function

    module.typechecked = typechecked


def close_no_client_from_its_finaliser(module: Any) -> None:
    """Do not let one connection's end silence another one for a minute.

    Letta makes a client of the openai and anthropic packages for every request and closes none. The client's finaliser,
    AsyncHttpxClientWrapper.__del__ in their _base_client.py, then schedules a close of connections whose sockets the
    garbage collector closes right after it. When that close runs, asyncio stops watching the file descriptor's number,
    which by now can be a new connection to PostgreSQL: it hears nothing until it times out after 60 seconds, and a message
    takes that long. Only providers that keep connections alive show it, which the real ones do. Without the finaliser
    the sockets are closed all the same, by the garbage collector.
    """
    del module.AsyncHttpxClientWrapper.__del__


def give_redis_its_password(module: Any) -> None:
    """Let the server log in to Redis with LETTA_REDIS_PASSWORD.

    letta/data_sources/redis_client.py, get_redis_client: its client takes a password, but the server has no setting for
    one and gives none.
    """
    original = module.AsyncRedisClient.__init__

    @functools.wraps(original)
    def initialise(self: Any, *args: Any, **options: Any) -> None:
        options.setdefault("password", os.environ.get("LETTA_REDIS_PASSWORD"))
        original(self, *args, **options)

    module.AsyncRedisClient.__init__ = initialise


BEFORE: dict[str, tuple[Patch, ...]] = {
    "letta.server.rest_api.app": (keep_password_out_of_log, postpone_openapi_schema),
}
AFTER: dict[str, tuple[Patch, ...]] = {
    "anthropic._base_client": (close_no_client_from_its_finaliser,),
    "letta.data_sources.redis_client": (give_redis_its_password,),
    "letta.config": (keep_uri_out_of_config_file,),
    "letta.llm_api.openai": (models.take_any_list_of_models,),
    "letta.monitoring.event_loop_watchdog": (stop_watchdog_at_once,),
    "letta.log": (logs.log_with_trace,),
    "letta.otel.context": (tracing.count_by_identifiers_only,),
    "letta.otel.tracing": (
        trace_no_health_checks,
        tracing.join_the_callers_trace,
        tracing.trace_no_content,
        logs.send_logs,
    ),
    "letta.server.db": (
        allow_sqlalchemy_tracing,
        unavailable.connect_in_time,
        unavailable.say_so_in_sessions,
    ),
    "letta.server.rest_api.app": (
        make_openapi_schema_on_request,
        start_without_nltk,
        start_one_at_a_time,
        unavailable.answer_with_retry_after,
    ),
    "letta.services.clickhouse_otel_traces": (tracing.read_without_password,),
    "letta.services.helpers.tool_execution_helper": (hide_environment_from_pip,),
    "letta.services.tool_sandbox.base": (hide_environment_from_tools,),
    "openai._base_client": (close_no_client_from_its_finaliser,),
    "opentelemetry.sdk.trace": (tracing.record_types_of_exceptions_only,),
    "typeguard": (check_no_types_at_run_time,),
}


class _PatchingFinder:
    """Finds modules like Python does, and runs the patches of those that have some."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in BEFORE and name not in AFTER:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            for patch in BEFORE.get(name, ()):
                patch(module)
            execute(module)
            for patch in AFTER.get(name, ()):
                patch(module)

        # On this one loader: its class serves every module.
        setattr(spec.loader, "exec_module", exec_module)  # noqa: B010 - mypy refuses the assignment
        return spec


def install() -> None:
    """Patch what is imported from now on. A second call changes nothing."""
    if _PatchingFinder not in sys.meta_path:
        sys.meta_path.insert(0, _PatchingFinder)
