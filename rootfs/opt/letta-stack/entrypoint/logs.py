"""What the server's log says, and where it goes: patches like those in patches.py, for letta/log.py of 0.16.8."""

from __future__ import annotations

import functools
import importlib
import linecache
import logging
import os
from typing import Any

from .environment import flag
from .telemetry import LOGS, keeps_content

_RECORD = frozenset(
    {
        *(
            "name",
            "levelno",
            "levelname",
            "created",
            "msecs",
            "pathname",
            "filename",
            "module",
            "lineno",
        ),
        *(
            "funcName",
            "process",
            "thread",
            "agent_id",
            "run_id",
            "step_id",
            "user_id",
            "org_id",
            "actor_id",
        ),
    }
)
"""Of a log record, what is no text of anybody."""
_STATEMENT_LINES = 12
_STATEMENT_LENGTH = 300


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


def send_logs(module: Any) -> None:
    """Send the log to the collector as well, where that is another container and cannot read the server's file.

    letta/otel has traces and metrics only. What the SDK itself logs stays out: a failed export would make the next one.
    """
    if not flag(os.environ, LOGS, default=False):
        return
    original = module.setup_tracing

    @functools.wraps(original)
    def setup(endpoint: str, *args: Any, **options: Any) -> None:
        original(endpoint, *args, **options)
        service = options.get("service_name", "memgpt-server")
        _attach_log_exporter(endpoint, module.get_resource(service))

    module.setup_tracing = setup


def _attach_log_exporter(endpoint: str, resource: Any) -> None:
    sdk = importlib.import_module("opentelemetry.sdk._logs")
    export = importlib.import_module("opentelemetry.sdk._logs.export")
    otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.grpc._log_exporter")
    api = importlib.import_module("opentelemetry._logs")
    provider = sdk.LoggerProvider(resource=resource)
    provider.add_log_record_processor(
        export.BatchLogRecordProcessor(otlp.OTLPLogExporter(endpoint=endpoint))
    )
    api.set_logger_provider(provider)
    keep = keeps_content(os.environ)
    base: Any = sdk.LoggingHandler

    class Handler(base):  # type: ignore[misc]  # the SDK is not there when types are checked
        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record if keep else without_content(record))

    handler = Handler(level=logging.INFO, logger_provider=provider)
    handler.addFilter(lambda record: not record.name.startswith(("opentelemetry", "grpc")))
    logging.getLogger().addHandler(handler)


def without_content(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy of a record that has the statement in the place of the message, and of an exception its type."""
    fields = {name: value for name, value in vars(record).items() if name in _RECORD}
    fields |= {"msg": getattr(record, "statement", ""), "args": None}
    if record.exc_info and record.exc_info[0]:
        fields["exception.type"] = record.exc_info[0].__qualname__
    return logging.makeLogRecord(fields)


@functools.lru_cache(maxsize=4096)
def statement(path: str, line: int) -> str:
    """Return the source of the call that begins in a line, in one line; "" if there is no source."""
    text = ""
    for number in range(line, line + _STATEMENT_LINES):
        text = f"{text} {linecache.getline(path, number).strip()}".strip()
        if text.count("(") <= text.count(")"):
            break
    return text[:_STATEMENT_LENGTH]
