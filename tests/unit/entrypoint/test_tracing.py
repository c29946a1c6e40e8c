"""What the server's telemetry says, against stand-ins for its modules; the smoke tests show the real ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from entrypoint import logs, tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENT = "agent-6f1ed2ea-7b6e-4d8c-9f1a-0123456789ab"


class Span:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.name = ""
        self.told: dict[str, Any] = {}
        self.events: list[Any] = []

    def update_name(self, name: str) -> None:
        self.name = name

    def set_attribute(self, key: str, value: Any) -> None:
        self.told[key] = value

    def set_status(self, status: Any, description: str | None = None) -> None:
        self.told["status"] = (status, description)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        self.events.append((name, attributes, timestamp))


def tracing_module() -> Any:
    spans: list[Span] = []

    @contextlib.contextmanager
    def start(name: str) -> Iterator[Span]:
        spans.append(Span())
        spans[-1].name = name
        yield spans[-1]

    return SimpleNamespace(
        Request=object,
        Status=lambda code: code,
        StatusCode=SimpleNamespace(OK="ok", ERROR="error"),
        _is_tracing_initialized=True,
        log_event=lambda name, attributes=None, timestamp=None: spans[-1].add_event(
            name, attributes, timestamp
        ),
        spans=spans,
        trace=SimpleNamespace(get_current_span=lambda: spans[-1]),
        tracer=SimpleNamespace(start_as_current_span=start),
    )


def test_a_traced_function_says_its_name_and_outcome_and_no_argument() -> None:
    module = tracing_module()
    tracing.trace_no_content(module)

    class Manager:
        @module.trace_method  # type: ignore[untyped-decorator]
        async def find(self, text: str) -> str:
            return text

    assert asyncio.run(Manager().find("secret")) == "secret"
    (span,) = module.spans
    assert span.name == "Manager.find"
    assert span.told == {"status": ("ok", None)}


def test_a_request_says_its_route_and_identifiers_and_no_text() -> None:
    module = tracing_module()
    module.spans.append(Span())
    tracing.trace_no_content(module)
    span = Span()
    request = SimpleNamespace(
        scope={"route": SimpleNamespace(path="/v1/agents/{agent_id}"), "letta_stack.span": span},
        method="PATCH",
        path_params={"agent_id": AGENT, "block_label": "secret"},
        headers={"x-organization-id": "secret"},
    )

    asyncio.run(module._update_trace_attributes(request))  # noqa: SLF001 - what is patched

    assert span.name == "PATCH /v1/agents/{agent_id}"
    assert span.told == {"http.method": "PATCH", "http.agent_id": AGENT}


def test_an_event_keeps_its_name_only() -> None:
    module = tracing_module()
    module.spans.append(Span())
    tracing.trace_no_content(module)

    module.log_event("tool_started", {"args": "secret"})
    module.log_event(name="tool_finished", attributes={"result": "secret"}, timestamp=1)

    assert module.spans[-1].events == [("tool_started", None, None), ("tool_finished", None, 1)]


def test_everything_stays_with_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETTA_STACK_TELEMETRY_CONTENT", "keep")
    module = tracing_module()
    before = dict(vars(module))
    tracing.trace_no_content(module)

    assert vars(module) == before


def test_an_exception_leaves_its_type_and_no_text() -> None:
    module = SimpleNamespace(Span=type("Patched", (Span,), {}), Status=lambda code: code)
    tracing.record_types_of_exceptions_only(module)
    span = module.Span()

    span.record_exception(ValueError("secret"), attributes={"x": "secret"})
    span.set_status(SimpleNamespace(status_code="error", description="secret"), "secret")

    assert span.events == [("exception", {"exception.type": "ValueError"}, None)]
    assert span.told["status"] == ("error", None)


def test_metrics_have_identifiers_and_no_other_text_of_a_client() -> None:
    kept: dict[str, str] = {}
    module = SimpleNamespace(add_ctx_attribute=kept.__setitem__)
    tracing.count_by_identifiers_only(module)

    module.add_ctx_attribute("agent.id", AGENT)
    module.add_ctx_attribute("project.id", "secret")

    assert kept == {"agent.id": AGENT}


@pytest.fixture
def in_a_span(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    context = SimpleNamespace(is_valid=True, trace_id=0xABC, span_id=0xDEF)
    span = SimpleNamespace(get_span_context=lambda: context)
    fake = SimpleNamespace(get_current_span=lambda: span)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", fake)
    before = logging.getLogRecordFactory()
    logs.log_with_trace(None)
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("in_a_span")
def test_a_record_has_the_trace_in_hexadecimal_and_its_statement(
    caplog: pytest.LogCaptureFixture,
) -> None:
    word = "secret"
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info(
            f"hello {word}",  # noqa: G004 - as the server logs
        )
    (record,) = caplog.records
    copy = logs.without_content(record)

    assert (record.trace_id, record.span_id) == (f"{0xABC:032x}", f"{0xDEF:016x}")  # type: ignore[attr-defined]
    assert copy.getMessage().startswith('logging.getLogger("x").info( f"hello {word}"')
    assert copy.name == "x"
    assert "secret" not in str(vars(copy).values())


def test_of_an_exception_in_a_record_the_type_stays() -> None:
    error = ValueError("secret")
    raised = (ValueError, error, None)
    record = logging.LogRecord("x", 40, __file__, 1, "no: %s", ("secret",), raised)

    copy = logs.without_content(record)

    assert vars(copy)["exception.type"] == "ValueError"
    assert copy.exc_info is None
    assert "secret" not in copy.getMessage()


def test_a_statement_without_source_is_empty() -> None:
    assert logs.statement("<string>", 1) == ""


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("/v1/health/", ["answer"]),
        ("/v1/agents/", ["extract", "attach", "span", "answer", "detach"]),
    ],
)
def test_the_callers_trace_is_joined_where_there_is_a_span(
    path: str, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    context = SimpleNamespace(
        attach=lambda _: done.append("attach"), detach=lambda _: done.append("detach")
    )
    propagate = SimpleNamespace(extract=lambda _: done.append("extract"))
    monkeypatch.setitem(sys.modules, "opentelemetry.context", context)
    monkeypatch.setitem(sys.modules, "opentelemetry.propagate", propagate)

    async def original(request: Any, call_next: Any) -> Any:
        done.append("span")
        return await call_next(request)

    async def answer(_: Any) -> str:
        done.append("answer")
        return "ok"

    module = tracing_module()
    module.spans.append(Span())
    module._trace_request_middleware = original  # noqa: SLF001
    module._excluded_v1_endpoints_regex = ["^GET /v1/health/$"]  # noqa: SLF001
    tracing.join_the_callers_trace(module)
    request = SimpleNamespace(method="GET", scope={"path": path, "route": "/"}, headers={})

    answered = asyncio.run(module._trace_request_middleware(request, answer))  # noqa: SLF001

    assert answered == "ok"
    assert done == steps
