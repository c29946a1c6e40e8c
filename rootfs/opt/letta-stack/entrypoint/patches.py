"""Corrects defects of the server, which has no upstream any more: one small function for each, the tables below name them.

A patch runs right before or right after the module it changes is executed, so no import order matters. File names are those
of the server's source, 0.16.8.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from . import (
    answers,
    confidential,
    later,
    logs,
    models,
    pooler,
    reserve,
    retention,
    startup,
    stored,
    tracing,
    unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Patch = Callable[[Any], None]


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


def speak_tls_with_redis(module: Any) -> None:
    """Let the server check Redis's certificate with LETTA_STACK_REDIS_CA, and speak nothing but TLS then.

    letta/data_sources/redis_client.py, AsyncRedisClient: makes its pool of plain connections; there is no setting.
    """
    authority = os.environ.get("LETTA_STACK_REDIS_CA")
    if authority:
        module.ConnectionPool = functools.partial(
            module.ConnectionPool,
            connection_class=importlib.import_module("redis.asyncio").SSLConnection,
            ssl_ca_certs=authority,
            ssl_check_hostname=True,
        )


BEFORE: dict[str, tuple[Patch, ...]] = {
    "fastapi.openapi.models": (later.build_models_when_they_are_used,),
    "google.genai.types": (later.build_models_when_they_are_used,),
    "letta.server.rest_api.app": (
        confidential.keep_password_out_of_log,
        startup.postpone_openapi_schema,
    ),
}
AFTER: dict[str, tuple[Patch, ...]] = {
    "anthropic._base_client": (close_no_client_from_its_finaliser,),
    "fastapi.openapi.models": (later.build_models_at_once,),
    "google.genai.types": (later.build_models_at_once,),
    "fastapi._compat": (startup.make_validators_on_demand,),
    "letta.data_sources.redis_client": (give_redis_its_password, speak_tls_with_redis),
    "letta.agents.letta_agent_v3": (stored.fail_a_turn_that_is_not_stored,),
    "letta.config": (confidential.keep_uri_out_of_config_file,),
    "letta.llm_api.openai": (models.take_any_list_of_models,),
    "letta.llm_api.openai_client": (models.offer_no_empty_list_of_tools,),
    "letta.monitoring.event_loop_watchdog": (stop_watchdog_at_once,),
    "letta.log": (logs.log_with_trace,),
    "letta.otel.context": (tracing.count_by_identifiers_only,),
    "letta.otel.tracing": (
        tracing.trace_no_health_checks,
        tracing.join_the_callers_trace,
        tracing.trace_no_content,
        logs.send_logs,
    ),
    "letta.server.db": (
        allow_sqlalchemy_tracing,
        pooler.use_unnamed_statements,
        unavailable.connect_in_time,
        unavailable.say_so_in_sessions,
    ),
    "letta.server.rest_api.app": (
        startup.make_openapi_schema_on_request,
        startup.start_without_nltk,
        startup.start_one_at_a_time,
        unavailable.answer_with_retry_after,
        reserve.refuse_before_the_disk_is_full,
        retention.forget_old_traces,
    ),
    "letta.services.agent_manager": (stored.store_an_agent_with_its_first_messages,),
    "letta.services.clickhouse_otel_traces": (tracing.read_without_password,),
    "letta.services.helpers.tool_execution_helper": (confidential.hide_environment_from_pip,),
    "letta.services.tool_sandbox.base": (confidential.hide_environment_from_tools,),
    "openai._base_client": (close_no_client_from_its_finaliser,),
    "opentelemetry.sdk.trace": (tracing.record_types_of_exceptions_only,),
    "uvicorn.protocols.http.h11_impl": (
        answers.send_an_answer_in_one_piece,
        answers.keep_a_connection_whose_answer_is_whole,
    ),
    "typeguard": (startup.check_no_types_at_run_time,),
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
        sys.meta_path[:0] = [_PatchingFinder, later.Finder()]
