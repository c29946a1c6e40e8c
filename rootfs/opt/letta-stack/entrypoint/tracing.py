"""What the server's telemetry says: patches like those in patches.py, for letta/otel and letta/log.py of 0.16.8."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import linecache
import logging
import os
import re
from typing import TYPE_CHECKING, Any

from .environment import flag
from .telemetry import PASSWORDLESS, keeps_content

if TYPE_CHECKING:
    from collections.abc import Callable

_IDENTIFIER = re.compile(r"[a-z][a-z_]*-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What the server's own identifiers look like. A client may put any text where one is expected."""
_HEADERS = {
    "user_id": "user.id",
    "x-organization-id": "organization.id",
    "x-agent-id": "agent.id",
}
_STATEMENT_LINES = 12
_STATEMENT_LENGTH = 300


def join_the_callers_trace(module: Any) -> None:
    """Go on with the trace of the `traceparent` header, and name no span after a path that no route knows.

    letta/otel/tracing.py, _trace_request_middleware: begins a new trace for every request, so that gateway and server are
    never one, and names the span after the path that the client made up when it finds no route for it.
    """
    original = module._trace_request_middleware  # noqa: SLF001 - the one place to mend
    context = importlib.import_module("opentelemetry.context")
    propagate = importlib.import_module("opentelemetry.propagate")

    @functools.wraps(original)
    async def middleware(request: Any, call_next: Any) -> Any:
        async def named(inner: Any) -> Any:
            response = await call_next(inner)
            if inner.scope.get("route") is None:
                module.trace.get_current_span().update_name(f"{inner.method} (no route)")
            return response

        token = context.attach(propagate.extract(request.headers))
        try:
            return await original(request, named)
        finally:
            context.detach(token)

    module._trace_request_middleware = middleware  # noqa: SLF001


def trace_no_content(module: Any) -> None:
    """Put no request bodies, arguments or free text into spans, unless the operator wants them there.

    letta/otel/tracing.py: every body and every argument of a traced function becomes an attribute, API keys and messages
    included; making their text costs more than the rest of the span. The collector's list of what may leave has the last
    word; what is not made need not be carried there.
    """
    if keeps_content(os.environ):
        return

    async def attributes(request: module.Request) -> None:
        if not module._is_tracing_initialized:  # noqa: SLF001
            return
        span = module.trace.get_current_span()
        route = request.scope.get("route")
        if route is not None:
            span.update_name(f"{request.method} {route.path}")
        span.set_attribute("http.method", request.method)
        named = {f"http.{name}": value for name, value in request.path_params.items()}
        named |= {key: request.headers.get(header, "") for header, key in _HEADERS.items()}
        for key, value in named.items():
            if _IDENTIFIER.fullmatch(str(value)):
                span.set_attribute(key, value)

    # FastAPI evaluates the annotations of a dependency in its module.
    attributes.__annotations__["request"] = module.Request
    module._update_trace_attributes = attributes  # noqa: SLF001
    module.trace_method = functools.partial(_traced, module)


def _traced(module: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Take the place of letta.otel.tracing.trace_method: a span with the name and the outcome, no arguments."""
    status = module.Status
    ok, error = module.StatusCode.OK, module.StatusCode.ERROR

    def name(arguments: tuple[Any, ...]) -> str:
        owner = type(arguments[0]).__name__ if arguments else function.__module__
        return f"{owner}.{function.__name__}"

    @functools.wraps(function)
    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        if not module._is_tracing_initialized:  # noqa: SLF001
            return await function(*args, **kwargs)
        with module.tracer.start_as_current_span(name(args)) as span:
            try:
                result = await function(*args, **kwargs)
            except asyncio.CancelledError:
                span.set_status(status(error))
                raise
            span.set_status(status(ok))
            return result

    @functools.wraps(function)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        if not module._is_tracing_initialized:  # noqa: SLF001
            return function(*args, **kwargs)
        with module.tracer.start_as_current_span(name(args)) as span:
            result = function(*args, **kwargs)
            span.set_status(status(ok))
            return result

    return asynchronous if inspect.iscoroutinefunction(function) else synchronous


def count_by_identifiers_only(module: Any) -> None:
    """Take only identifiers for the attributes of metrics.

    letta/otel/metrics.py hands on five headers as they are: any client can put text into every store, and as many time
    series as it likes.
    """
    original = module.add_ctx_attribute

    @functools.wraps(original)
    def add(key: str, value: Any) -> None:
        if _IDENTIFIER.fullmatch(str(value)):
            original(key, value)

    module.add_ctx_attribute = add


def log_with_trace(_: Any) -> None:
    """Give every log record the trace that it belongs to, and the statement that made it.

    letta/log.py writes the trace's number in decimal, as one vendor wants it and no span has it. The statement is the text of
    the source: `f"Created agent {name}"` says what happened without saying to whom, and can leave where the message may
    not.
    """
    trace = importlib.import_module("opentelemetry.trace")
    original = logging.getLogRecordFactory()

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = original(*args, **kwargs)
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            made.trace_id = f"{context.trace_id:032x}"
            made.span_id = f"{context.span_id:016x}"
        made.statement = statement(made.pathname, made.lineno)
        return made

    # The server's JSON formatter writes every attribute that it does not know.
    logging.setLogRecordFactory(record)


@functools.lru_cache(maxsize=4096)
def statement(path: str, line: int) -> str:
    """Return the source of the call that begins in a line, in one line; "" if there is no source."""
    text = ""
    for number in range(line, line + _STATEMENT_LINES):
        text = f"{text} {linecache.getline(path, number).strip()}".strip()
        if text.count("(") <= text.count(")"):
            break
    return text[:_STATEMENT_LENGTH]


def read_without_password(module: Any) -> None:
    """Let the trace reader use a ClickHouse user that has no password.

    letta/services/clickhouse_otel_traces.py takes an empty password for a missing one.
    """
    if flag(os.environ, PASSWORDLESS, default=False):
        module.settings.clickhouse_password = _Empty()


class _Empty(str):
    """An empty password that was meant."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True
