"""What the server's telemetry says: patches like those in patches.py, for letta/otel of 0.16.8."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import os
import re
from typing import TYPE_CHECKING, Any

from .environment import flag
from .telemetry import PASSWORDLESS, keeps_content

if TYPE_CHECKING:
    from collections.abc import Callable

_IDENTIFIER = re.compile(r"[a-z][a-z_]*-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What the server's own identifiers look like. A client may put any text where one is expected."""
_SPAN = "letta_stack.span"
"""Where a request carries the span of its own."""
_HEADERS = {
    "user_id": "user.id",
    "x-organization-id": "organization.id",
    "x-agent-id": "agent.id",
}


def join_the_callers_trace(module: Any) -> None:
    """Go on with the trace of the `traceparent` header, and name no span after a path that no route knows.

    letta/otel/tracing.py, _trace_request_middleware: begins a new trace for every request, so that gateway and server are
    never one, and names the span after the path that the client made up when it finds no route for it.
    """
    original = module._trace_request_middleware  # noqa: SLF001 - the one place to change
    context = importlib.import_module("opentelemetry.context")
    propagate = importlib.import_module("opentelemetry.propagate")

    def untraced(request: Any) -> bool:
        name = f"{request.method} {request.scope['path']}"
        return any(re.match(one, name) for one in module._excluded_v1_endpoints_regex)  # noqa: SLF001

    @functools.wraps(original)
    async def middleware(request: Any, call_next: Any) -> Any:
        if untraced(request):
            # A health check has no span, and its caller's context costs a fifteenth of its time.
            return await call_next(request)

        async def named(inner: Any) -> Any:
            inner.scope[_SPAN] = module.trace.get_current_span()
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
        # Not the current one: that is a middleware's.
        span = request.scope.get(_SPAN, module.trace.get_current_span())
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
    original = module.log_event

    @functools.wraps(original)
    def log_event(name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        del attributes  # arguments and results of tools, among others
        original(name, timestamp=timestamp)

    module.log_event = log_event
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


def record_types_of_exceptions_only(module: Any) -> None:
    """Let a span say that and with which exception it failed, not the exception's text.

    The SDK (opentelemetry/sdk/trace) records message and stack trace; the server's messages quote requests and answers.
    """
    if keeps_content(os.environ):
        return
    set_status = module.Span.set_status

    def record_exception(
        self: Any,
        exception: BaseException,
        attributes: Any = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: FBT001, FBT002 - the SDK's signature
    ) -> None:
        del attributes, escaped
        self.add_event("exception", {"exception.type": type(exception).__qualname__}, timestamp)

    @functools.wraps(set_status)
    def set_status_without_text(self: Any, status: Any, description: str | None = None) -> None:
        del description
        code = getattr(status, "status_code", status)
        set_status(self, module.Status(code))

    module.Span.record_exception = record_exception
    module.Span.set_status = set_status_without_text


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


def trace_no_health_checks(module: Any) -> None:
    """Make no spans for health checks.

    letta/otel/tracing.py: the exclusion lacks the slash with which the endpoint is spelled, so every check of every
    container makes five spans.
    """
    module._excluded_v1_endpoints_regex.append("^GET /(v1|latest)/(health|ready)/$")  # noqa: SLF001
